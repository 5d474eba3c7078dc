// Prompt files: one row is one conversation to answer, or already answered.
//
// Formats (docs/formats/prompts.md): JSON rows, one a line or in one array (`messages` in the form of the OpenAI API
// with tools and calls, `prompt` and `completion`, or ShareGPT's `conversations`), CSV and TSV (RFC 4180), and plain
// lines. Files are read as a stream: memory holds one row at a time, however long the file is. Pure reading; any
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "collect/prompt_source.h"
#include "exchange/exchange.h"

namespace retort::collect {

enum class PromptFormat : std::uint8_t { kAuto, kJsonLines, kShareGpt, kCsv, kTsv, kLines };
std::vector<std::string> prompt_format_names();  // "auto", "jsonl", "sharegpt", "csv", "tsv", "lines"
Result<PromptFormat> prompt_format_from_name(std::string_view name);  // empty: auto

struct PromptRow {
  std::size_t line = 0;  // from 1; where the row begins
  Prompt prompt;
  std::optional<std::string> answer;      // the row ended with an assistant's turn
  std::string answer_tool_calls = {};     // that turn's calls, as in Message
  std::vector<Digest> derived_from = {};  // exchanges that the prompt was written in; none of a file's
};

// A row that was left out, by PromptSource::skip_broken.
struct BrokenRow {
  std::size_t line = 0;
  std::string why;  // the sentence that would have been the error
};

// What reading a file came to.
struct PromptFileReport {
  std::int64_t rows = 0;                       // given to the visitor
  std::int64_t skipped = 0;                    // broken
  PromptFormat format = PromptFormat::kLines;  // never kAuto
  bool as_guessed = true;                      // kAuto would have chosen this format
  std::string column;                          // of csv and tsv: the one that was read
  std::vector<BrokenRow> first_skipped;        // the first few of them
};
inline constexpr std::size_t kSkippedShown = 5;

// Visits the rows of the file in order. An error of the visitor ends the reading and is returned.
// Errors (kCaller) name file, line, what is wrong and how to skip it: not JSON, nested deeper than 128 levels, none of
// the known shapes, an unknown role, content that isn't text, text that is not UTF-8, two turns of one role in a row,
// nothing to answer, a row of another number of fields than its header, or longer than 64 MB. Not skipped: no such file
// or column, a quoted field that never ends, a file without any good row.
using PromptVisitor = std::function<Result<void>(PromptRow row)>;
Result<PromptFileReport> for_each_prompt(const PromptSource& source, const PromptVisitor& visit);

// Every row at once.
Result<std::vector<PromptRow>> read_prompts(const PromptSource& source);
Result<std::vector<PromptRow>> read_prompts(const std::filesystem::path& file, PromptFormat format);
Result<std::vector<PromptRow>> parse_prompts(std::string_view text, std::string_view what, PromptFormat format);

}  // namespace retort::collect
