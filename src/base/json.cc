#include "base/json.h"

#include <algorithm>

namespace retort {

Result<Json> parse_json(std::string_view text, std::string_view what) {
  try {
    return Json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    const std::size_t end = std::min<std::size_t>(error.byte > 0 ? error.byte - 1 : 0, text.size());
    const auto before = text.substr(0, end);
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const auto newline = before.rfind('\n');
    const std::size_t column = end - (newline == std::string_view::npos ? 0 : newline + 1) + 1;
    return caller_error(std::string(what) + " is not valid JSON at line " + std::to_string(line) + ", column " +
                        std::to_string(column) + ". Expected one JSON value.");
  } catch (const nlohmann::json::exception& error) {
    return caller_error(std::string(what) + " is not valid JSON: " + error.what());
  }
}

std::string canonical_json(const Json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace retort
