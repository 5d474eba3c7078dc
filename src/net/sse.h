// Server-sent events (WHATWG HTML, "Server-sent events"), as model APIs use them. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

namespace retort::net {

// One event of type "message": a line "data: …" for each line of `text`, and the empty line that ends it.
std::string sse_event(std::string_view text);

}  // namespace retort::net
