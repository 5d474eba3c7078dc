#include "collect/prompts.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/text.h"
#include "collect/delimited.h"
#include "collect/json_rows.h"
#include "collect/line_reader.h"
#include "collect/prompt_json.h"

namespace retort::collect {
namespace {

struct Named {
  std::string_view name;
  PromptFormat format;
};
constexpr std::array<Named, 6> kFormats = {{{"auto", PromptFormat::kAuto},
                                            {"jsonl", PromptFormat::kJsonLines},
                                            {"sharegpt", PromptFormat::kShareGpt},
                                            {"csv", PromptFormat::kCsv},
                                            {"tsv", PromptFormat::kTsv},
                                            {"lines", PromptFormat::kLines}}};

// Column names for a sentence: in a file without a header they are somebody's data, so not too many and not too long.
std::string in_words(const std::vector<std::string>& names) {
  constexpr std::size_t kMost = 30;
  constexpr std::size_t kLongest = 40;
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < kMost; ++i) {
    std::string name = names[i].substr(0, kLongest);
    name.resize(name.size() - unfinished_utf8_suffix(name));
    text += (text.empty() ? "'" : ", '") + name + (names[i].size() > kLongest ? "…'" : "'");
  }
  return text + (names.size() > kMost ? ", …" : "");
}

PromptFormat guess(std::string_view what, char first) {
  const std::string name = to_lower_ascii(what);
  for (const std::string_view ending : {".jsonl", ".ndjson", ".json"}) {
    if (name.ends_with(ending)) return PromptFormat::kJsonLines;
  }
  if (name.ends_with(".csv")) return PromptFormat::kCsv;
  if (name.ends_with(".tsv") || name.ends_with(".tab")) return PromptFormat::kTsv;
  return first == '{' ? PromptFormat::kJsonLines : PromptFormat::kLines;
}

// Reads one file. What is wrong with a row ends the reading or, where the source says so, is counted.
class PromptFileReader {
 public:
  // `hint`: what to do about a broken row, a sentence that follows what is wrong; may be empty.
  PromptFileReader(const PromptSource& source, std::string hint, LineReader lines, const PromptVisitor& visit)
      : source_(source), hint_(std::move(hint)), lines_(std::move(lines)), visit_(visit) {}

  Result<PromptFileReport> read() {
    RETORT_ASSIGN(report_.format, prompt_format_from_name(source_.format));
    RETORT_ASSIGN(const char first, lines_.first_character());
    const PromptFormat guessed = guess(source_.file, first);
    if (report_.format == PromptFormat::kAuto) report_.format = guessed;
    const bool json = report_.format == PromptFormat::kJsonLines || report_.format == PromptFormat::kShareGpt;
    const bool guessed_json = guessed == PromptFormat::kJsonLines;
    report_.as_guessed = json == guessed_json && (json || report_.format == guessed);
    const bool delimited = report_.format == PromptFormat::kCsv || report_.format == PromptFormat::kTsv;
    if (!source_.column.empty() && !delimited) {
      return caller_error(source_.file + ": collect.prompts names the column '" + source_.column +
                          "', but the file is read as " + format_name() +
                          "; set its format to csv or tsv, or leave the column out.");
    }
    if (delimited) {
      RETORT_TRY(read_delimited(report_.format == PromptFormat::kCsv ? ',' : '\t'));
    } else if (json && first == '[') {
      RETORT_TRY(read_array());
    } else {
      RETORT_TRY(read_lines(json));
    }
    if (report_.rows == 0) {
      if (report_.skipped > 0) {
        return caller_error(source_.file + ": none of its " + human_count(report_.skipped) +
                            " rows can be read; line " + std::to_string(report_.first_skipped.front().line) + ": " +
                            report_.first_skipped.front().why);
      }
      return caller_error(source_.file + ": the prompt file is empty; expected at least one row.");
    }
    return std::move(report_);
  }

 private:
  std::string format_name() const {
    for (const Named& known : kFormats) {
      if (known.format == report_.format) return std::string(known.name);
    }
    return {};
  }

  std::string where(std::size_t line) const { return source_.file + ", line " + std::to_string(line) + ": "; }

  // What became of a row: visited, counted as broken, or the error that ends the reading.
  Result<void> take(std::size_t line, Result<PromptRow> row) {
    if (row) {
      ++report_.rows;
      row->line = line;
      return visit_(std::move(*row));
    }
    if (row.error().fault != Fault::kCaller) return Failure(row.error());
    if (!source_.skip_broken) return caller_error(where(line) + row.error().message + hint_);
    if (report_.first_skipped.size() < kSkippedShown) report_.first_skipped.push_back({line, row.error().message});
    ++report_.skipped;
    return {};
  }

  Result<void> read_lines(bool json) {
    while (true) {
      RETORT_ASSIGN(const auto line, lines_.next());
      if (!line) return {};
      const std::string_view text = trim(line->text);
      if (line->too_long) {
        RETORT_TRY(take(line->number, caller_error("the line is longer than 64 MB, which no prompt is.")));
      } else if (!text.empty()) {
        RETORT_TRY(take(line->number, json ? json_prompt_row(text) : plain_row(text)));
      }
    }
  }

  static Result<PromptRow> plain_row(std::string_view text) {
    if (!is_valid_utf8(text)) return caller_error("the line is not UTF-8; convert the file first.");
    return PromptRow{0, Prompt{{{Role::kUser, std::string(text)}}}, std::nullopt};
  }

  Result<void> read_array() {
    ArrayReader elements(lines_);
    while (true) {
      auto element = elements.next();
      if (!element) return in_file(element.error());
      if (!*element) return {};
      RETORT_TRY(take((*element)->line, json_prompt_row((*element)->text)));
    }
  }

  // An error of a reader that doesn't know the file's name.
  Failure in_file(const Error& error) const {
    if (error.fault != Fault::kCaller) return Failure(error);
    return caller_error(source_.file + ", " + error.message);
  }

  Result<void> read_delimited(char separator) {
    RecordReader records(lines_, separator);
    auto header = records.next();
    if (!header) return in_file(header.error());
    if (!*header) return {};
    if (!(*header)->broken.empty()) return caller_error(where((*header)->line) + (*header)->broken);
    std::vector<std::string> names;
    for (const std::string& name : (*header)->fields) {
      if (!is_valid_utf8(name))
        return caller_error(where((*header)->line) + "the header is not UTF-8; convert the file first.");
      names.emplace_back(trim(name));
    }
    RETORT_ASSIGN(const std::size_t prompt, prompt_column(names));
    report_.column = names[prompt];
    const auto place = [&](std::string_view name) -> std::optional<std::size_t> {
      const auto found = std::ranges::find(names, name);
      if (found == names.end() || static_cast<std::size_t>(found - names.begin()) == prompt) return std::nullopt;
      return static_cast<std::size_t>(found - names.begin());
    };
    const auto system = place("system");
    const auto completion = names[prompt] == "prompt" ? place("completion") : std::nullopt;
    while (true) {
      auto record = records.next();
      if (!record) return in_file(record.error());
      if (!*record) return {};
      const std::size_t line = (*record)->line;
      std::vector<std::string>& fields = (*record)->fields;
      if (!(*record)->broken.empty()) {
        RETORT_TRY(take(line, caller_error((*record)->broken)));
      } else if (fields.size() != names.size()) {
        RETORT_TRY(take(line, caller_error("the row has " + std::to_string(fields.size()) + " fields; expected " +
                                           std::to_string(names.size()) + ", as many as the header.")));
      } else {
        const auto field = [&](std::optional<std::size_t> at) { return at ? std::move(fields[*at]) : std::string(); };
        std::string answer = field(completion);
        RETORT_TRY(take(line, field_row(field(system), std::move(fields[prompt]), std::move(answer))));
      }
    }
  }

  static Result<PromptRow> field_row(std::string system, std::string prompt, std::string answer) {
    for (const std::string* text : {&system, &prompt, &answer}) {
      if (!is_valid_utf8(*text)) return caller_error("the row is not UTF-8; convert the file first.");
    }
    std::vector<Message> messages;
    if (!system.empty()) messages.push_back({Role::kSystem, std::move(system)});
    messages.push_back({Role::kUser, std::move(prompt)});
    if (!answer.empty()) messages.push_back({Role::kAssistant, std::move(answer)});
    return row_of(std::move(messages));
  }

  Result<std::size_t> prompt_column(const std::vector<std::string>& names) const {
    const std::string wanted = source_.column.empty() ? "prompt" : source_.column;
    const auto found = std::ranges::find(names, wanted);
    if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
    if (source_.column.empty() && names.size() == 1) return std::size_t{0};
    const std::string near = source_.column.empty() ? std::string() : nearest(wanted, names);
    return caller_error(source_.file + ": there is no column '" + wanted + "'" +
                        (near.empty() ? "" : " (did you mean '" + near + "'?)") + "; its columns are " +
                        in_words(names) +
                        ". Name the one that holds the prompts: collect.prompts: {file, format, "
                        "column}.");
  }

  const PromptSource& source_;
  std::string hint_;
  LineReader lines_;
  const PromptVisitor& visit_;
  PromptFileReport report_;
};

}  // namespace

std::vector<std::string> prompt_format_names() {
  std::vector<std::string> names;
  for (const Named& known : kFormats) names.emplace_back(known.name);
  return names;
}

Result<PromptFormat> prompt_format_from_name(std::string_view name) {
  if (name.empty()) return PromptFormat::kAuto;
  for (const Named& known : kFormats) {
    if (known.name == name) return known.format;
  }
  return caller_error("The prompt format '" + std::string(name) +
                      "' is not known; expected auto, jsonl, sharegpt, csv, tsv or lines.");
}

Result<PromptFileReport> for_each_prompt(const PromptSource& source, const PromptVisitor& visit) {
  RETORT_ASSIGN(LineReader lines, LineReader::open(source.file));
  return PromptFileReader(source, " Correct it, or leave such rows out with skip_broken: true in collect.prompts.",
                          std::move(lines), visit)
      .read();
}

Result<std::vector<PromptRow>> read_prompts(const PromptSource& source) {
  std::vector<PromptRow> rows;
  RETORT_TRY(for_each_prompt(source, [&](PromptRow row) -> Result<void> {
    rows.push_back(std::move(row));
    return {};
  }));
  return rows;
}

namespace {

Result<std::vector<PromptRow>> rows_of(LineReader lines, std::string_view what, PromptFormat format) {
  std::vector<PromptRow> rows;
  const PromptVisitor visit = [&](PromptRow row) -> Result<void> {
    rows.push_back(std::move(row));
    return {};
  };
  PromptSource source;
  source.file = std::string(what);
  for (const Named& known : kFormats) {
    if (known.format == format) source.format = std::string(known.name);
  }
  RETORT_TRY(PromptFileReader(source, "", std::move(lines), visit).read());
  return rows;
}

}  // namespace

Result<std::vector<PromptRow>> read_prompts(const std::filesystem::path& file, PromptFormat format) {
  RETORT_ASSIGN(LineReader lines, LineReader::open(file));
  return rows_of(std::move(lines), file.string(), format);
}

Result<std::vector<PromptRow>> parse_prompts(std::string_view text, std::string_view what, PromptFormat format) {
  return rows_of(LineReader::of(text), what, format);
}

}  // namespace retort::collect
