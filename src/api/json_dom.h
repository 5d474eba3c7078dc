// What this module reads JSON with: simdjson's tree, and reading it without exceptions. Not for other modules.
//
// A tree is valid until its reader reads again. One thread at a time.
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "api/json_reader.h"

namespace retort::api {

using Element = simdjson::dom::element;

inline constexpr std::size_t kMostDepth = 128;

struct JsonReader::Inside {
  std::optional<simdjson::dom::parser> parser;
  // Why the text can't be read; SUCCESS with `root` set when it can.
  simdjson::error_code read(std::string_view text, Element& root);
};

inline std::optional<Element> part(Element object, std::string_view key) {
  simdjson::dom::object members;
  Element value;
  if (object.get(members) != simdjson::SUCCESS || members.at_key(key).get(value) != simdjson::SUCCESS) {
    return std::nullopt;
  }
  return value;
}

inline std::string_view text_of(Element element) {
  std::string_view text;
  return element.get(text) == simdjson::SUCCESS ? text : std::string_view();
}

// "" when there is no such text.
inline std::string_view text_at(Element object, std::string_view key) {
  const auto value = part(object, key);
  return value ? text_of(*value) : std::string_view();
}

// 0 when there is no such number, or it is negative.
inline std::int64_t count_at(Element object, std::string_view key) {
  const auto value = part(object, key);
  std::int64_t count = 0;
  if (!value || value->get(count) != simdjson::SUCCESS || count < 0) return 0;
  return count;
}

inline bool is_object(const std::optional<Element>& element) {
  return element && element->type() == simdjson::dom::element_type::OBJECT;
}

inline bool is_true(const std::optional<Element>& element) {
  bool value = false;
  return element && element->get(value) == simdjson::SUCCESS && value;
}

// Calls `visit` for each element of an array; nothing for what isn't one.
template <class Visit>
void each(const std::optional<Element>& array, Visit&& visit) {
  simdjson::dom::array elements;
  if (!array || array->get(elements) != simdjson::SUCCESS) return;
  for (const Element element : elements) visit(element);
}

// Calls `visit(key, value)` for each member of an object; nothing for what isn't one.
template <class Visit>
void each_member(const std::optional<Element>& object, Visit&& visit) {
  simdjson::dom::object members;
  if (!object || object->get(members) != simdjson::SUCCESS) return;
  for (const auto member : members) visit(member.key, member.value);
}

}  // namespace retort::api
