#include "base/json.h"

#include <algorithm>
#include <charconv>

namespace retort {
namespace {

void append_by_the_library(const Json& value, std::string& out) {
  out += value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// What most texts are, and the library looks at a byte at a time.
bool needs_no_escape(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; });
}

template <class T>
void append_number(T value, std::string& out) {
  char digits[24];
  out.append(digits, std::to_chars(digits, digits + sizeof(digits), value).ptr);
}

void append_text(const std::string& text, std::string& out) {
  if (!needs_no_escape(text)) return append_by_the_library(Json(text), out);
  out += '"';
  out += text;
  out += '"';
}

// The library's own bytes, without its ways where they are plain.
void append(const Json& value, std::string& out) {
  switch (value.type()) {
    case Json::value_t::object: {
      out += '{';
      bool first = true;
      for (const auto& [key, member] : value.get_ref<const Json::object_t&>()) {
        if (!first) out += ',';
        first = false;
        append_text(key, out);
        out += ':';
        append(member, out);
      }
      out += '}';
      return;
    }
    case Json::value_t::array: {
      out += '[';
      bool first = true;
      for (const Json& member : value.get_ref<const Json::array_t&>()) {
        if (!first) out += ',';
        first = false;
        append(member, out);
      }
      out += ']';
      return;
    }
    case Json::value_t::string: return append_text(value.get_ref<const std::string&>(), out);
    case Json::value_t::number_integer: return append_number(value.get<std::int64_t>(), out);
    case Json::value_t::number_unsigned: return append_number(value.get<std::uint64_t>(), out);
    default: return append_by_the_library(value, out);
  }
}

}  // namespace

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
  std::string out;
  append(value, out);
  return out;
}

}  // namespace retort
