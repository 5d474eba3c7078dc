#include "evidence/json_text.h"

#include <array>
#include <charconv>
#include <cstring>

#include "base/json.h"
#include "base/text.h"

namespace retort::evidence {

namespace {

// What a byte needs inside a JSON string: 0 nothing, 1 \u00XX, else the letter after the backslash.
constexpr std::array<char, 256> kEscapes = [] {
  std::array<char, 256> escapes{};
  for (std::size_t byte = 0; byte < 0x20; ++byte) escapes[byte] = 1;
  escapes['"'] = '"';
  escapes['\\'] = '\\';
  escapes['\b'] = 'b';
  escapes['\f'] = 'f';
  escapes['\n'] = 'n';
  escapes['\r'] = 'r';
  escapes['\t'] = 't';
  return escapes;
}();

// Whether one of eight bytes is a control character, a quotation mark or a backslash; sometimes also where one is
// beyond ASCII, which only costs a closer look.
bool may_need_escape(const char* bytes) {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes, sizeof word);
  constexpr std::uint64_t kEach = 0x0101010101010101ULL;
  constexpr std::uint64_t kHigh = kEach * 0x80;
  const std::uint64_t quote = word ^ (kEach * '"');
  const std::uint64_t backslash = word ^ (kEach * '\\');
  const std::uint64_t zero = (quote - kEach) | (backslash - kEach) | (word - kEach * 0x20);
  return (zero & kHigh) != 0;
}

bool is_ascii(std::string_view text) {
  unsigned char all = 0;
  for (const char c : text) all = static_cast<unsigned char>(all | static_cast<unsigned char>(c));
  return all < 0x80;
}

}  // namespace

void append_json_string(std::string& out, std::string_view value) {
  if (!is_ascii(value) && !is_valid_utf8(value)) {
    out += canonical_json(Json(std::string(value)));
    return;
  }
  out += '"';
  std::size_t written = 0;
  for (std::size_t i = 0; i < value.size(); ++i) {
    while (i + 8 <= value.size() && !may_need_escape(value.data() + i)) i += 8;
    if (i == value.size()) break;
    const char escape = kEscapes[static_cast<unsigned char>(value[i])];
    if (escape == 0) continue;
    out += value.substr(written, i - written);
    written = i + 1;
    out += '\\';
    if (escape != 1) {
      out += escape;
      continue;
    }
    constexpr std::string_view kDigits = "0123456789abcdef";
    out += "u00";
    out += kDigits[static_cast<unsigned char>(value[i]) >> 4U];
    out += kDigits[static_cast<unsigned char>(value[i]) & 15U];
  }
  out += value.substr(written);
  out += '"';
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
