#include "report/html.h"

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>

#include "base/text.h"

namespace retort::report {

namespace {

// One character of UTF-8 at `at`: its code point and length; length 0 when the bytes aren't UTF-8.
struct Character {
  std::uint32_t code = 0;
  std::size_t length = 0;
};

Character character_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) -> std::uint32_t { return static_cast<unsigned char>(text[i]); };
  const std::uint32_t first = byte(at);
  if (first < 0x80) return {first, 1};
  const std::size_t length = first >= 0xF0 && first < 0xF5   ? 4
                             : first >= 0xE0 && first < 0xF0 ? 3
                             : first >= 0xC2 && first < 0xE0 ? 2
                                                             : 0;
  if (length == 0 || at + length > text.size()) return {};
  if (!is_valid_utf8(text.substr(at, length))) return {};
  std::uint32_t code = first & (0xFFU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) code = (code << 6U) | (byte(at + i) & 0x3FU);
  return {code, length};
}

bool turns_direction(std::uint32_t code) {
  return (code >= 0x202A && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069) || code == 0x200E || code == 0x200F ||
         code == 0x061C;
}

void append_control_picture(std::string& html, std::uint32_t code) {
  // U+2400 + code for C0, U+2421 for DEL, U+2426 for C1.
  const std::uint32_t picture = code == 0x7F ? 0x2421 : code < 0x20 ? 0x2400 + code : 0x2426;
  html += static_cast<char>(0xE0U | (picture >> 12U));
  html += static_cast<char>(0x80U | ((picture >> 6U) & 0x3FU));
  html += static_cast<char>(0x80U | (picture & 0x3FU));
}

std::string escape_with(std::string_view text, bool visible) {
  std::string html;
  html.reserve(text.size() + text.size() / 8);
  for (std::size_t i = 0; i < text.size();) {
    const Character character = character_at(text, i);
    if (character.length == 0) {
      html += "\xEF\xBF\xBD";
      ++i;
      continue;
    }
    const std::uint32_t code = character.code;
    if (code == '&') {
      html += "&amp;";
    } else if (code == '<') {
      html += "&lt;";
    } else if (code == '>') {
      html += "&gt;";
    } else if (code == '"') {
      html += "&quot;";
    } else if (code == '\'') {
      html += "&#39;";
    } else if (code == '\n') {
      html += visible ? "↵" : "\n";
    } else if (code == '\t') {
      html += visible ? "⇥" : "\t";
    } else if (code < 0x20 || (code >= 0x7F && code < 0xA0)) {
      append_control_picture(html, code);
    } else if (turns_direction(code)) {
      std::array<char, 16> name{};
      std::snprintf(name.data(), name.size(), "U+%04X", code);
      html += "⟦";
      html += name.data();
      html += "⟧";
    } else {
      html += text.substr(i, character.length);
    }
    i += character.length;
  }
  return html;
}

std::string fixed(double value, int decimals) {
  std::array<char, 64> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%.*f", decimals, value);
  return buffer.data();
}

// Without trailing zeros after the point.
std::string trimmed(std::string text) {
  if (text.find('.') == std::string::npos) return text;
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text == "-0" ? "0" : text;
}

}  // namespace

std::string escape(std::string_view text) { return escape_with(text, false); }
std::string escape_visible(std::string_view text) { return escape_with(text, true); }

std::string number_text(double value) {
  if (!std::isfinite(value)) return "—";
  const double size = std::abs(value);
  if (size == 0) return "0";
  if (size >= 1e9) return trimmed(fixed(value / 1e9, size >= 1e11 ? 0 : 2)) + "G";
  if (size >= 1e6) return trimmed(fixed(value / 1e6, size >= 1e8 ? 0 : 2)) + "M";
  if (size >= 1000) return human_count(std::llround(value));
  if (size >= 100) return fixed(value, 0);
  if (size >= 10) return trimmed(fixed(value, 1));
  if (size >= 0.1) return trimmed(fixed(value, 2));
  if (size >= 0.001) return trimmed(fixed(value, 4));
  std::array<char, 64> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%.1e", value);
  return buffer.data();
}

std::string coordinate(double value) { return std::isfinite(value) ? trimmed(fixed(value, 2)) : "0"; }

std::string text_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return {};
  if (found->is_string()) return found->get<std::string>();
  if (found->is_number()) return number_text(found->get<double>());
  return {};
}

bool flag_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

double number_of(const Json& object, const char* key, double fallback) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : fallback;
}

std::string html_of(const Json& object, const char* key) { return escape(text_of(object, key)); }

}  // namespace retort::report
