// Values that may be written in one of two shapes.
//
//   student.layers: 20                  or  [0, 1, 2, 29]
//   collect.prompts: self_generated     or  {file: prompts.jsonl, format: jsonl}
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

// A word of OptionText::choices, or a file and how it is written (one of OptionText::formats).
struct WordOrFile {
  std::string word;    // empty when a file was given
  std::string file;    // empty when a word was given
  std::string format;  // of the file

  bool is_file() const { return !file.empty(); }
  bool operator==(const WordOrFile&) const = default;
};

template <>
struct Codec<CountOrList> {
  static std::string type_name(const OptionText& text);
  static Parsed<CountOrList> parse(const Node& node, const OptionText& text);
  static Node write(const CountOrList& value);
};

template <>
struct Codec<WordOrFile> {
  static std::string type_name(const OptionText& text);
  static Parsed<WordOrFile> parse(const Node& node, const OptionText& text);
  static Node write(const WordOrFile& value);
};

}  // namespace retort::recipe
