#include "collect/delimited.h"

#include <utility>

#include "base/text.h"

namespace retort::collect {

Result<std::optional<RecordReader::Record>> RecordReader::next() {
  Record record;
  std::string field;
  std::size_t size = 0;    // of the record so far
  std::size_t opened = 0;  // the line of the quote that is open; 0: none is
  while (true) {
    RETORT_ASSIGN(const auto line, lines_.next());
    if (!line) {
      if (opened == 0) return std::optional<Record>();
      return caller_error("line " + std::to_string(opened) +
                          ": a field in double quotes begins here and never ends; expected a closing quote, and quotes "
                          "inside the field doubled (RFC 4180).");
    }
    if (opened == 0) {
      if (trim(line->text).empty() && !line->too_long && line->text.find(separator_) == std::string_view::npos)
        continue;
      record.line = line->number;
    }
    size += line->text.size() + 1;
    if (line->too_long || size > kLongestRow) {
      const std::string why = "is longer than 64 MB, which no prompt is";
      if (opened == 0) {
        record.broken = "the row " + why + ".";
        return std::optional<Record>(std::move(record));
      }
      return caller_error("line " + std::to_string(opened) + ": the field in double quotes that begins here " + why +
                          "; expected a closing quote.");
    }
    std::string_view text = line->text;
    std::size_t at = 0;
    bool at_field_start = opened == 0;
    bool closed = false;  // a quoted field has just ended
    while (at < text.size()) {
      const char c = text[at];
      if (opened != 0) {
        const std::size_t quote = text.find('"', at);
        field.append(text.substr(at, quote == std::string_view::npos ? quote : quote - at));
        if (quote == std::string_view::npos) {
          at = text.size();
        } else if (quote + 1 < text.size() && text[quote + 1] == '"') {
          field += '"';
          at = quote + 2;
        } else {
          at = quote + 1;
          opened = 0;
          closed = true;
        }
      } else if (c == separator_) {
        record.fields.push_back(std::exchange(field, {}));
        ++at;
        at_field_start = true;
        closed = false;
      } else if (c == '"' && at_field_start) {
        opened = line->number;
        at_field_start = false;
        ++at;
      } else if (c == '\r' && at + 1 == text.size()) {
        ++at;
      } else if (closed) {
        record.broken =
            "after the closing quote of a field more text follows; expected the separator or the end of the "
            "line, and quotes inside the field doubled (RFC 4180).";
        return std::optional<Record>(std::move(record));
      } else {
        // Up to the next separator at once.
        std::size_t end = text.find(separator_, at);
        if (end == std::string_view::npos) end = text.size() - (text.back() == '\r' ? 1 : 0);
        field.append(text.substr(at, end - at));
        at = end;
        at_field_start = false;
      }
    }
    if (opened == 0) {
      record.fields.push_back(std::move(field));
      return std::optional<Record>(std::move(record));
    }
    field += '\n';
  }
}

}  // namespace retort::collect
