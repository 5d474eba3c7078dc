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

std::vector<SseEvent> parse_sse(std::string_view stream) {
  if (stream.starts_with("\xEF\xBB\xBF")) stream.remove_prefix(3);
  std::vector<SseEvent> events;
  std::string type;
  std::string data;
  bool has_data = false;
  while (!stream.empty()) {
    const std::size_t end = stream.find_first_of("\r\n");
    if (end == std::string_view::npos) break;  // a line that isn't ended isn't one
    const std::string_view line = stream.substr(0, end);
    const bool pair = stream[end] == '\r' && end + 1 < stream.size() && stream[end + 1] == '\n';
    stream.remove_prefix(end + (pair ? 2 : 1));
    if (line.empty()) {
      if (has_data) events.push_back({type.empty() ? "message" : type, std::move(data)});
      type.clear();
      data.clear();
      has_data = false;
      continue;
    }
    const std::size_t colon = line.find(':');
    const std::string_view field = line.substr(0, colon);
    std::string_view value = colon == std::string_view::npos ? std::string_view() : line.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (field == "data") {
      if (has_data) data += '\n';
      data += value;
      has_data = true;
    } else if (field == "event") {
      type = value;
    }
  }
  return events;
}

}  // namespace retort::net
