// Prompt files: one row is one conversation to answer, or already answered.
//
// Formats (docs/formats/prompts.md): JSON lines with `messages` ([{"role", "content"}, …]) or `prompt` (a string), or
// plain lines, one user's turn each. Pure reading; any thread.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "exchange/exchange.h"

namespace retort::collect {

enum class PromptFormat { kAuto, kJsonLines, kLines };
Result<PromptFormat> prompt_format_from_name(std::string_view name);  // "auto", "jsonl", "lines"

struct PromptRow {
  std::size_t line = 0;  // from 1
  Prompt prompt;
  std::optional<std::string> answer;  // the row ended with an assistant's turn
};

// Every row of the file. Errors (kCaller) name file and line: not JSON, neither `messages` nor `prompt`, an unknown
// role, text that is not UTF-8, two turns of one role in a row, nothing to answer; and a file without any row.
Result<std::vector<PromptRow>> read_prompts(const std::filesystem::path& file, PromptFormat format);
Result<std::vector<PromptRow>> parse_prompts(std::string_view text, std::string_view what, PromptFormat format);

}  // namespace retort::collect
