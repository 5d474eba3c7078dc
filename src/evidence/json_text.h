// Writes one JSON object member by member, as canonical_json() would: for records that are written thousands of times a
// second, where building a tree first costs more than hashing and writing.
//
// The caller gives members in ascending order of their names; a test holds the records to it. One thread per object.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace retort::evidence {

class JsonText {
 public:
  // Appends to `out`, which must outlive this.
  explicit JsonText(std::string& out) : out_(out) { out_ += '{'; }
  void end() { out_ += '}'; }

  // Invalid UTF-8 becomes U+FFFD.
  void text(std::string_view name, std::string_view value);
  void text_unless_empty(std::string_view name, std::string_view value) {
    if (!value.empty()) text(name, value);
  }
  void number(std::string_view name, std::int64_t value);
  void number_unless_zero(std::string_view name, std::int64_t value) {
    if (value != 0) number(name, value);
  }
  void boolean(std::string_view name, bool value);
  void true_if(std::string_view name, bool value) {
    if (value) boolean(name, true);
  }
  // Begins a member whose value the caller appends to the text by itself.
  std::string& member(std::string_view name);

 private:
  std::string& out_;
  bool first_ = true;
};

// The JSON string, in quotation marks, with the same escapes as canonical_json().
void append_json_string(std::string& out, std::string_view value);

}  // namespace retort::evidence
