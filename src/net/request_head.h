// Is the head of a request one that every HTTP implementation reads alike?
//
// A proxy and the server behind it must agree where a request ends, or a second one can be smuggled in the first. So
// nothing is repaired here: bare line ends, folded lines, doubled or contradicting lengths, codings other than
// `chunked` and control characters are refused (RFC 9112, sections 2.2, 3, 5 and 6). Pure; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace retort::net {

// `head`: from the request line up to and with the empty line. The sentence that says what is wrong; none: nothing is.
std::optional<std::string> request_head_fault(std::string_view head);

// Where the head in `bytes` ends (behind its empty line), or npos while it hasn't come whole. A bare line feed, which
// some would take for the end of the head, ends it too: request_head_fault() then refuses it.
std::size_t request_head_end(std::string_view bytes);

// Whether a head that begins with `bytes` could still be fine: a TLS greeting on a port without TLS isn't waited for.
bool may_become_request(std::string_view bytes);

}  // namespace retort::net
