// Where the values of a JSON text lie in it, so that one can be changed and all other bytes stay as they were.
//
// For text that a parser has found valid; on other text the answers mean nothing, and nothing outside it is read.
// Views and places, no copies; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace retort::api {

struct Span {
  std::size_t begin = 0, end = 0;
  bool empty() const { return begin == end; }
};

struct MemberSpan {
  Span key;    // with its quotes
  Span value;  // without white space around it
};

class JsonSpans {
 public:
  explicit JsonSpans(std::string_view text) : text_(text) {}

  std::string_view text(Span span) const { return text_.substr(span.begin, span.end - span.begin); }
  // The document's value, with the white space around it.
  Span root() const { return {0, text_.size()}; }
  // In order; none when the value isn't an object or an array.
  std::vector<MemberSpan> members(Span object) const;
  std::vector<Span> elements(Span array) const;
  // The value of the first member of this name, escapes in it decoded; empty when there is none.
  Span member(Span object, std::string_view key) const;

 private:
  friend class SpanReader;
  std::string_view text_;
};

// The text of a JSON string with its quotes, decoded. Surrogates that aren't paired become U+FFFD.
std::string decoded_string(std::string_view quoted);
// `text` as a JSON string, with quotes; bytes beyond ASCII stay as they are.
std::string quoted_string(std::string_view text);

// A change: the bytes of `span` become `bytes`. Several must not overlap; of those that begin at one place the first is
// the first.
struct Patch {
  Span span;
  std::string bytes;
};
std::string patched(std::string_view text, std::vector<Patch> patches);

// Takes out those of an object's or array's parts that are marked, each with one comma. `parts`: in order, from the
// first byte of a key or element to the last of its value.
void remove_parts(const std::vector<Span>& parts, const std::vector<bool>& removed, std::vector<Patch>& patches);

}  // namespace retort::api
