// Where prompts come from: the recipe's key `collect.prompts`.
//
//   prompts: self_generated                          # the teacher writes the user's turn too
//   prompts: {file: chats.jsonl}                     # its format by name and first character
//   prompts: {file: questions.csv, format: csv, column: question, skip_broken: true}
//
// Plain values; any thread.
#pragma once

#include <string>

#include "recipe/codec.h"

namespace retort::collect {

struct PromptSource {
  std::string file;             // empty: self_generated
  std::string format = "auto";  // a name that prompt_format_from_name() knows
  // Of csv and tsv: the column that holds the prompt. Empty: `prompt`, or the only one there is.
  std::string column;
  bool skip_broken = false;  // rows that can't be read are counted and left out rather than refused

  bool is_file() const { return !file.empty(); }
  bool operator==(const PromptSource&) const = default;
};

}  // namespace retort::collect

namespace retort::recipe {
template <>
struct Codec<collect::PromptSource> {
  static std::string type_name(const OptionText& text);
  static Parsed<collect::PromptSource> parse(const Node& node, const OptionText& text);
  static Node write(const collect::PromptSource& value);
};
}  // namespace retort::recipe
