// Values that may be written in one of two shapes.
//
//   student.layers: 20     or  [0, 1, 2, 29]
//
// Plain values; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "recipe/codec.h"

namespace retort::recipe {

// How many, or exactly which. OptionText::minimum and maximum hold for the count; the list's values are indices from 0,
// ascending, each once.
struct CountOrList {
  std::variant<std::int64_t, std::vector<std::int64_t>> value = std::int64_t{0};

  bool is_list() const { return value.index() == 1; }
  // How many either way.
  std::int64_t count() const;
  // Empty when only a count was given.
  std::vector<std::int64_t> list() const;
  bool operator==(const CountOrList&) const = default;
};

template <>
struct Codec<CountOrList> {
  static std::string type_name(const OptionText& text);
  static Parsed<CountOrList> parse(const Node& node, const OptionText& text);
  static Node write(const CountOrList& value);
};

}  // namespace retort::recipe
