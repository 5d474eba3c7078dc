#include "api/json_spans.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace retort::api {

// Goes over the text from a place; every step stays within it.
class SpanReader {
 public:
  SpanReader(std::string_view text, std::size_t at, std::size_t end) : text_(text), at_(at), end_(end) {}

  bool done() const { return at_ >= end_; }
  std::size_t at() const { return at_; }
  char peek() const { return done() ? '\0' : text_[at_]; }
  void step() { ++at_; }
  void skip_space() {
    while (!done() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t')) ++at_;
  }
  bool take(char c) {
    skip_space();
    if (peek() != c || done()) return false;
    ++at_;
    return true;
  }
  // From the first byte of a value to past its last.
  Span value() {
    skip_space();
    const std::size_t begin = at_;
    if (peek() == '"') {
      string();
    } else if (peek() == '{' || peek() == '[') {
      container();
    } else {
      while (!done() && !ends_scalar(text_[at_])) ++at_;
    }
    return {begin, at_};
  }

 private:
  static bool ends_scalar(char c) {
    return c == ',' || c == '}' || c == ']' || c == ':' || c == '"' || c == ' ' || c == '\n' || c == '\r' || c == '\t';
  }
  // The closing quote is the first one without an odd run of backslashes before it.
  void string() {
    const std::size_t begin = ++at_;
    while (!done()) {
      const void* quote = std::memchr(text_.data() + at_, '"', end_ - at_);
      if (quote == nullptr) break;
      at_ = static_cast<std::size_t>(static_cast<const char*>(quote) - text_.data());
      std::size_t slashes = 0;
      while (at_ - slashes > begin && text_[at_ - slashes - 1] == '\\') ++slashes;
      ++at_;
      if (slashes % 2 == 0) return;
    }
    at_ = end_;
  }
  void container() {
    std::size_t depth = 0;
    while (!done()) {
      const char c = text_[at_];
      if (c == '"') {
        string();
        continue;
      }
      ++at_;
      if (c == '{' || c == '[') ++depth;
      if ((c == '}' || c == ']') && --depth == 0) return;
    }
  }

  std::string_view text_;
  std::size_t at_;
  std::size_t end_;
};

namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The four hexadecimal digits at `at`; -1 when they aren't there.
std::int32_t code_unit(std::string_view text, std::size_t at) {
  if (at + 4 > text.size()) return -1;
  std::int32_t unit = 0;
  for (std::size_t i = at; i < at + 4; ++i) {
    const int digit = hex_digit(text[i]);
    if (digit < 0) return -1;
    unit = unit * 16 + digit;
  }
  return unit;
}

void append_utf8(std::uint32_t code, std::string& out) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0U | (code >> 6U));
    out += static_cast<char>(0x80U | (code & 0x3FU));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0U | (code >> 12U));
    out += static_cast<char>(0x80U | ((code >> 6U) & 0x3FU));
    out += static_cast<char>(0x80U | (code & 0x3FU));
  } else {
    out += static_cast<char>(0xF0U | (code >> 18U));
    out += static_cast<char>(0x80U | ((code >> 12U) & 0x3FU));
    out += static_cast<char>(0x80U | ((code >> 6U) & 0x3FU));
    out += static_cast<char>(0x80U | (code & 0x3FU));
  }
}

char unescaped(char c) {
  switch (c) {
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    default: return c;
  }
}

bool same_key(std::string_view quoted, std::string_view key) {
  if (quoted.size() < 2) return false;
  const std::string_view inner = quoted.substr(1, quoted.size() - 2);
  if (inner == key) return key.find('\\') == std::string_view::npos || decoded_string(quoted) == key;
  return inner.find('\\') != std::string_view::npos && decoded_string(quoted) == key;
}

}  // namespace

std::vector<MemberSpan> JsonSpans::members(Span object) const {
  std::vector<MemberSpan> members;
  SpanReader reader(text_, object.begin, object.end);
  if (!reader.take('{')) return members;
  members.reserve(8);
  do {
    MemberSpan member;
    member.key = reader.value();
    if (member.key.empty() || text_[member.key.begin] != '"' || !reader.take(':')) break;
    member.value = reader.value();
    members.push_back(member);
  } while (reader.take(','));
  return members;
}

std::vector<Span> JsonSpans::elements(Span array) const {
  std::vector<Span> elements;
  SpanReader reader(text_, array.begin, array.end);
  if (!reader.take('[')) return elements;
  do {
    const Span element = reader.value();
    if (element.empty()) break;
    elements.push_back(element);
  } while (reader.take(','));
  return elements;
}

Span JsonSpans::member(Span object, std::string_view key) const {
  SpanReader reader(text_, object.begin, object.end);
  if (!reader.take('{')) return {};
  do {
    const Span name = reader.value();
    if (name.empty() || text_[name.begin] != '"' || !reader.take(':')) break;
    const Span value = reader.value();
    if (same_key(text(name), key)) return value;
  } while (reader.take(','));
  return {};
}

std::string decoded_string(std::string_view quoted) {
  std::string out;
  if (quoted.size() < 2) return out;
  const std::string_view text = quoted.substr(1, quoted.size() - 2);
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] != '\\' || i + 1 >= text.size()) {
      out += text[i++];
      continue;
    }
    if (text[i + 1] != 'u') {
      out += unescaped(text[i + 1]);
      i += 2;
      continue;
    }
    const std::int32_t first = code_unit(text, i + 2);
    if (first < 0) {
      out += 'u';
      i += 2;
      continue;
    }
    i += 6;
    if (first < 0xD800 || first > 0xDFFF) {
      append_utf8(static_cast<std::uint32_t>(first), out);
      continue;
    }
    const bool pair = first < 0xDC00 && text.substr(i, 2) == "\\u";
    const std::int32_t second = pair ? code_unit(text, i + 2) : -1;
    if (second >= 0xDC00 && second <= 0xDFFF) {
      append_utf8(
          0x10000U + (static_cast<std::uint32_t>(first - 0xD800) << 10U) + static_cast<std::uint32_t>(second - 0xDC00),
          out);
      i += 6;
    } else {
      append_utf8(0xFFFD, out);
    }
  }
  return out;
}

std::string quoted_string(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out;
  out.reserve(text.size() + 2);
  out += '"';
  std::size_t plain = 0;  // from here to i nothing needs an escape
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte >= 0x20 && byte != '"' && byte != '\\') continue;
    out.append(text.substr(plain, i - plain));
    plain = i + 1;
    switch (text[i]) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        out += "\\u00";
        out += kHex[byte >> 4U];
        out += kHex[byte & 15U];
    }
  }
  out.append(text.substr(plain));
  out += '"';
  return out;
}

std::string patched(std::string_view text, std::vector<Patch> patches) {
  std::stable_sort(patches.begin(), patches.end(),
                   [](const Patch& a, const Patch& b) { return a.span.begin < b.span.begin; });
  std::string out;
  std::size_t size = text.size();
  for (const Patch& patch : patches) size += patch.bytes.size();
  out.reserve(size);
  std::size_t at = 0;
  for (const Patch& patch : patches) {
    if (patch.span.begin < at) continue;  // within one that is already done
    out.append(text.substr(at, patch.span.begin - at));
    out.append(patch.bytes);
    at = patch.span.end;
  }
  out.append(text.substr(std::min(at, text.size())));
  return out;
}

void remove_parts(const std::vector<Span>& parts, const std::vector<bool>& removed, std::vector<Patch>& patches) {
  bool kept_before = false;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (!removed[i]) {
      kept_before = true;
    } else if (kept_before) {
      patches.push_back({{parts[i - 1].end, parts[i].end}, ""});
    } else {
      patches.push_back({{parts[i].begin, i + 1 < parts.size() ? parts[i + 1].begin : parts[i].end}, ""});
    }
  }
}

}  // namespace retort::api
