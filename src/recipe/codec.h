// How a C++ type is read from and written to a recipe. An option's member may be of any type that has a Codec.
//
// Here: bool, int32, int64, uint64, double, string, lists of int64, double and string, optional of each (YAML `null` is
// "not set"), and the one-of shapes of recipe/choices.h. A module with a shape of its own specialises Codec beside it:
//
//   template <> struct Codec<Shape> {
//     static std::string type_name(const OptionText&);                         // "a number or a list of numbers"
//     static Parsed<Shape> parse(const Node&, const OptionText&);              // strict; the error is what was
//     expected static Node write(const Shape&);                                         // the canonical value
//   };
//
// Pure functions; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "recipe/node.h"

namespace retort::recipe {

// What an option's declaration says beside its member. All parts are optional; leave out what doesn't apply.
struct OptionText {
  std::string unit = {};                  // "tokens", "exchanges"; empty: none
  std::string help = {};                  // whole sentences
  std::optional<double> minimum = {};     // inclusive; for lists: of each value
  std::optional<double> maximum = {};     // inclusive
  bool above_minimum = false;             // the minimum itself is refused
  std::vector<std::string> choices = {};  // the only texts allowed
  bool required = false;                  // the recipe must say it; the default is meaningless
  bool not_empty = false;                 // a text or list must hold something
};

// The value, or what was expected instead ("a whole number from 1 to 8").
template <class T>
using Parsed = tl::expected<T, std::string>;
using Expected = tl::unexpected<std::string>;

template <class T>
struct Codec;

#define RETORT_RECIPE_CODEC(type)                              \
  template <>                                                  \
  struct Codec<type> {                                         \
    static std::string type_name(const OptionText& text);      \
    static Parsed<type> parse(const Node&, const OptionText&); \
    static Node write(const type& value);                      \
  }
RETORT_RECIPE_CODEC(bool);
RETORT_RECIPE_CODEC(std::int32_t);
RETORT_RECIPE_CODEC(std::int64_t);
RETORT_RECIPE_CODEC(std::uint64_t);
RETORT_RECIPE_CODEC(double);
RETORT_RECIPE_CODEC(std::string);
RETORT_RECIPE_CODEC(std::vector<std::int64_t>);
RETORT_RECIPE_CODEC(std::vector<double>);
RETORT_RECIPE_CODEC(std::vector<std::string>);
#undef RETORT_RECIPE_CODEC

template <class T>
struct Codec<std::optional<T>> {
  static std::string type_name(const OptionText& text) { return Codec<T>::type_name(text) + ", or null"; }
  static Parsed<std::optional<T>> parse(const Node& node, const OptionText& text) {
    if (node.kind == Node::Kind::kNull) return std::optional<T>();
    auto value = Codec<T>::parse(node, text);
    if (!value) return Expected(std::move(value.error()) + ", or null");
    return std::optional<T>(std::move(*value));
  }
  static Node write(const std::optional<T>& value) { return value ? Codec<T>::write(*value) : Node::null(); }
};

}  // namespace retort::recipe
