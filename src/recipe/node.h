// A value of a recipe as it was written, with its place: what the YAML edge hands to the options.
//
// Scalars are resolved by YAML 1.2's core schema: `true` is a truth value, `3` a whole number, `5e-4` a number, `"3"`
// (in quotes) and anything else a text. Nothing is coerced later. A plain value: share it as any other.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace retort::recipe {

struct Node {
  enum class Kind : std::uint8_t { kNull, kBool, kInteger, kNumber, kText, kList, kMap };

  Kind kind = Kind::kNull;
  bool boolean = false;
  std::int64_t integer = 0;
  double number = 0;
  std::string text;         // of kText; of a number, as it was written in a file
  std::vector<Node> items;  // of kList
  struct Member;
  std::vector<Member> members;  // of kMap, in the order written
  int line = 0;                 // 1 is the first line; 0: not from a file
  std::string origin;           // where it is from when not from a line: "--set train.epochs"

  static Node of(bool value);
  static Node of(std::int64_t value);
  static Node of(double value);
  static Node of(std::string value);
  static Node null();
  static Node list(std::vector<Node> items);
  static Node map(std::vector<Member> members);

  // The member of this key, or nullptr.
  const Node* find(std::string_view key) const;
};

struct Node::Member {
  std::string key;
  Node value;
  int line = 0;  // of the key
};

inline Node Node::null() { return {}; }  // here, for Clang wants to know what a Member is

// What stands there, for a sentence: `the text "3"`, `the number 1.5`, `a list of 2 values`, `nothing`.
std::string describe(const Node& node);

// One line of YAML that reads back as the same value: `[0, 1, 2]`, `{file: "p.jsonl", format: "lines"}`, `0.0005`.
std::string to_yaml(const Node& node);

}  // namespace retort::recipe
