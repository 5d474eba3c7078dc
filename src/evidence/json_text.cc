#include "evidence/json_text.h"

#include <array>
#include <charconv>

#include "base/json.h"
#include "base/text.h"

namespace retort::evidence {

void append_json_string(std::string& out, std::string_view value) {
  bool plain = true;
  bool ascii = true;
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    plain = plain && byte >= 0x20 && c != '"' && c != '\\' && byte != 0x7f;
    ascii = ascii && byte < 0x80;
  }
  if (plain && (ascii || is_valid_utf8(value))) {
    out += '"';
    out += value;
    out += '"';
    return;
  }
  out += canonical_json(Json(std::string(value)));
}

std::string& JsonText::member(std::string_view name) {
  if (!first_) out_ += ',';
  first_ = false;
  out_ += '"';
  out_ += name;
  out_ += "\":";
  return out_;
}

void JsonText::text(std::string_view name, std::string_view value) { append_json_string(member(name), value); }

void JsonText::number(std::string_view name, std::int64_t value) {
  std::array<char, 24> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  member(name).append(digits.data(), end);
}

void JsonText::boolean(std::string_view name, bool value) { member(name) += value ? "true" : "false"; }

}  // namespace retort::evidence
