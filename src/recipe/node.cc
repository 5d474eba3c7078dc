#include "recipe/node.h"

#include <array>
#include <charconv>
#include <cmath>

namespace retort::recipe {

Node Node::of(bool value) {
  Node node;
  node.kind = Kind::kBool;
  node.boolean = value;
  return node;
}

Node Node::of(std::int64_t value) {
  Node node;
  node.kind = Kind::kInteger;
  node.integer = value;
  return node;
}

Node Node::of(double value) {
  Node node;
  node.kind = Kind::kNumber;
  node.number = value;
  return node;
}

Node Node::of(std::string value) {
  Node node;
  node.kind = Kind::kText;
  node.text = std::move(value);
  return node;
}

Node Node::list(std::vector<Node> items) {
  Node node;
  node.kind = Kind::kList;
  node.items = std::move(items);
  return node;
}

Node Node::map(std::vector<Member> members) {
  Node node;
  node.kind = Kind::kMap;
  node.members = std::move(members);
  return node;
}

const Node* Node::find(std::string_view key) const {
  for (const Member& member : members) {
    if (member.key == key) return &member.value;
  }
  return nullptr;
}

namespace {

// Fewest digits that read back the same, always recognisable as a number that isn't whole ("1.0", "0.0005", "1e-08",
// ".inf"); without an exponent where a person would leave it out.
std::string number_text(double value) {
  if (std::isnan(value)) return ".nan";
  if (std::isinf(value)) return value < 0 ? "-.inf" : ".inf";
  const double size = std::abs(value);
  const bool plain = value == 0 || (size >= 1e-5 && size < 1e7);
  std::array<char, 64> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 plain ? std::chars_format::fixed : std::chars_format::scientific)
                       .ptr;
  std::string text(buffer.data(), end);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

// Double-quoted: every text reads back as itself, whatever it looks like.
std::string quoted(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7F) {
      out += "\\x";
      out += kHex[byte >> 4U];
      out += kHex[byte & 15U];
    } else {
      out += c;
    }
  }
  return out + "\"";
}

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Texts that need no quotes: plain words and paths that the core schema can't take for anything else.
bool is_plain(std::string_view text) {
  if (text.empty() || !(is_letter(text.front()) || text.front() == '/')) return false;
  for (const char c : text) {
    if (!is_letter(c) && !is_digit(c) && c != '_' && c != '-' && c != '.' && c != '/') return false;
  }
  for (const std::string_view word :
       {"true", "True", "TRUE", "false", "False", "FALSE", "null", "Null", "NULL", "y",   "Y",   "n",  "N",
        "yes",  "Yes",  "YES",  "no",    "No",    "NO",    "on",   "On",   "ON",   "off", "Off", "OFF"}) {
    if (text == word) return false;
  }
  return true;
}

std::string text_to_yaml(std::string_view text) { return is_plain(text) ? std::string(text) : quoted(text); }

}  // namespace

std::string describe(const Node& node) {
  switch (node.kind) {
    case Node::Kind::kNull: return "nothing";
    case Node::Kind::kBool: return node.boolean ? "true" : "false";
    case Node::Kind::kInteger: return "the number " + std::to_string(node.integer);
    case Node::Kind::kNumber: {
      // As a person would write it: 0.5, not 5e-01.
      std::array<char, 32> buffer{};
      std::snprintf(buffer.data(), buffer.size(), "%.10g", node.number);
      return std::string("the number ") + buffer.data();
    }
    case Node::Kind::kText: {
      constexpr std::size_t kShown = 60;
      return "the text " + quoted(node.text.size() > kShown ? node.text.substr(0, kShown) + "…" : node.text);
    }
    case Node::Kind::kList:
      return "a list of " + std::to_string(node.items.size()) + (node.items.size() == 1 ? " value" : " values");
    case Node::Kind::kMap: {
      std::string keys;
      for (const Node::Member& member : node.members) keys += (keys.empty() ? "" : ", ") + member.key;
      return "a map of " + (keys.empty() ? std::string("nothing") : keys);
    }
  }
  return {};
}

std::string to_yaml(const Node& node) {
  switch (node.kind) {
    case Node::Kind::kNull: return "null";
    case Node::Kind::kBool: return node.boolean ? "true" : "false";
    case Node::Kind::kInteger: return std::to_string(node.integer);
    case Node::Kind::kNumber: return number_text(node.number);
    case Node::Kind::kText: return text_to_yaml(node.text);
    case Node::Kind::kList: {
      std::string out = "[";
      for (const Node& item : node.items) out += (out.size() > 1 ? ", " : "") + to_yaml(item);
      return out + "]";
    }
    case Node::Kind::kMap: {
      std::string out = "{";
      for (const Node::Member& member : node.members) {
        out += (out.size() > 1 ? ", " : "") + text_to_yaml(member.key) + ": " + to_yaml(member.value);
      }
      return out + "}";
    }
  }
  return {};
}

}  // namespace retort::recipe
