// Server-sent events (WHATWG HTML, "Server-sent events"), as model APIs use them. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace retort::net {

// One event of type "message": a line "data: …" for each line of `text`, and the empty line that ends it.
std::string sse_event(std::string_view text);

struct SseEvent {
  std::string type;  // "message" where the stream names none
  std::string data;  // its lines joined by '\n'
};

// The events of a whole stream. Comments, ids and retry times are skipped, all three line ends are understood; an event
// that the empty line doesn't end is left out, as the standard asks.
std::vector<SseEvent> parse_sse(std::string_view stream);

}  // namespace retort::net
