#include "collect/json_rows.h"

#include <algorithm>
#include <utility>
namespace retort::collect {
namespace {

Failure broken(std::size_t line, const std::string& why) {
  return caller_error("line " + std::to_string(line) + ": " + why);
}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

}  // namespace

std::size_t json_depth(std::string_view text, std::size_t most) {
  std::size_t depth = 0;
  std::size_t deepest = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size() && deepest <= most; ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return deepest;
}

Result<std::optional<ArrayReader::Element>> ArrayReader::next() {
  Element element;
  std::size_t depth = 0;
  bool begun = false;
  bool in_string = false;
  bool escaped = false;
  while (true) {
    std::size_t from = 0;  // of the element's text in this piece
    for (std::size_t i = 0; i < text_.size(); ++i) {
      const char c = text_[i];
      if (c == '\n') ++line_;
      if (begun) {
        bool ends = false;
        std::size_t end = i + 1;
        if (in_string) {
          if (c == '"' && !escaped) {
            in_string = false;
            ends = depth == 0;
          }
          escaped = c == '\\' && !escaped;
        } else if (c == '"') {
          in_string = true;
        } else if (c == '{' || c == '[') {
          ++depth;
        } else if (depth > 0 && (c == '}' || c == ']')) {
          ends = --depth == 0;
        } else if (depth == 0 && (c == ',' || c == ']' || is_space(c))) {  // after a number or a word
          ends = true;
          end = i;
          if (c == '\n') --line_;  // it is read again
        }
        if (!ends) continue;
        element.text.append(text_.substr(from, end - from));
        text_.remove_prefix(end);
        return std::optional<Element>(std::move(element));
      }
      if (is_space(c)) continue;
      if (closed_) return broken(line_, "text follows the end of the JSON array; expected nothing after it.");
      if (!opened_) {
        opened_ = true;  // the '['
      } else if (c == ']') {
        closed_ = true;
      } else if (c == ',') {
        if (comma_) return broken(line_, "a comma stands where a row of the JSON array was expected.");
        comma_ = true;
      } else if (!comma_) {
        return broken(line_,
                      "the rows of the JSON array aren't separated by a comma here; its brackets may be broken.");
      } else {
        begun = true;
        comma_ = false;
        element.line = line_;
        from = i;
        in_string = c == '"';
        depth = c == '{' || c == '[' ? 1 : 0;
      }
    }
    if (begun) {
      element.text.append(text_.substr(std::min(from, text_.size())));
      if (element.text.size() > kLongestRow) {
        return broken(element.line,
                      "a row of the JSON array that begins here is longer than 64 MB; its brackets or quotes may be "
                      "broken.");
      }
    }
    RETORT_ASSIGN(text_, lines_.piece());
    if (text_.empty()) {
      if (closed_) return std::optional<Element>();
      return broken(begun ? element.line : line_,
                    begun ? "a row of the JSON array begins here and never ends; its brackets or quotes may be broken."
                          : "the JSON array isn't closed at the end of the file; expected ']'.");
    }
  }
}

}  // namespace retort::collect
