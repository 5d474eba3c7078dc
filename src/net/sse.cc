#include "net/sse.h"

namespace retort::net {

std::string sse_event(std::string_view text) {
  std::string event = "data: ";
  event.reserve(text.size() + 8);
  for (const char c : text) {
    // A carriage return would end the line too: no reader could tell it from one.
    if (c == '\r') continue;
    event += c;
    if (c == '\n') event += "data: ";
  }
  event += "\n\n";
  return event;
}

}  // namespace retort::net
