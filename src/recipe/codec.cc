#include "recipe/codec.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "recipe/schema.h"

namespace retort::recipe {

namespace {

using Kind = Node::Kind;

std::string with_range(const std::string& type, const OptionText& text) {
  const std::string range = describe_range(text);
  return type + (range.empty() ? "" : " " + range);
}

bool in_range(double value, const OptionText& text) {
  if (!std::isfinite(value)) return false;
  if (text.minimum && (text.above_minimum ? value <= *text.minimum : value < *text.minimum)) return false;
  return !(text.maximum && value > *text.maximum);
}

template <class Integer>
Parsed<Integer> parse_integer(const Node& node, const OptionText& text) {
  if (node.kind == Kind::kInteger && in_range(static_cast<double>(node.integer), text)) {
    const bool fits = std::in_range<Integer>(node.integer);
    if (fits) return static_cast<Integer>(node.integer);
  }
  return Expected(with_range("a whole number", text));
}

std::string list_name(const std::string& items, const OptionText& text) {
  const std::string range = describe_range(text);
  return "list of " + items + (text.not_empty ? ", at least one" : "") + (range.empty() ? "" : ", each " + range);
}

// Each item by the codec of its type; the list's own demands are checked here.
template <class T>
Parsed<std::vector<T>> parse_list(const Node& node, const OptionText& text) {
  const auto refused = [&] { return Expected("a " + Codec<std::vector<T>>::type_name(text)); };
  if (node.kind != Kind::kList || (text.not_empty && node.items.empty())) return refused();
  OptionText item_text = text;
  item_text.not_empty = false;
  std::vector<T> values;
  for (const Node& item : node.items) {
    auto value = Codec<T>::parse(item, item_text);
    if (!value) return refused();
    values.push_back(std::move(*value));
  }
  return values;
}

template <class T>
Node write_list(const std::vector<T>& values) {
  std::vector<Node> items;
  items.reserve(values.size());
  for (const T& value : values) items.push_back(Codec<T>::write(value));
  return Node::list(std::move(items));
}

}  // namespace

std::string Codec<bool>::type_name(const OptionText&) { return "true or false"; }
Parsed<bool> Codec<bool>::parse(const Node& node, const OptionText&) {
  if (node.kind != Kind::kBool) return Expected("true or false");
  return node.boolean;
}
Node Codec<bool>::write(const bool& value) { return Node::of(value); }

std::string Codec<std::int32_t>::type_name(const OptionText& text) { return with_range("whole number", text); }
Parsed<std::int32_t> Codec<std::int32_t>::parse(const Node& node, const OptionText& text) {
  return parse_integer<std::int32_t>(node, text);
}
Node Codec<std::int32_t>::write(const std::int32_t& value) { return Node::of(std::int64_t{value}); }

std::string Codec<std::int64_t>::type_name(const OptionText& text) { return with_range("whole number", text); }
Parsed<std::int64_t> Codec<std::int64_t>::parse(const Node& node, const OptionText& text) {
  return parse_integer<std::int64_t>(node, text);
}
Node Codec<std::int64_t>::write(const std::int64_t& value) { return Node::of(value); }

std::string Codec<std::uint64_t>::type_name(const OptionText& text) { return with_range("whole number", text); }
Parsed<std::uint64_t> Codec<std::uint64_t>::parse(const Node& node, const OptionText& text) {
  return parse_integer<std::uint64_t>(node, text);
}
Node Codec<std::uint64_t>::write(const std::uint64_t& value) { return Node::of(static_cast<std::int64_t>(value)); }

std::string Codec<double>::type_name(const OptionText& text) { return with_range("number", text); }
Parsed<double> Codec<double>::parse(const Node& node, const OptionText& text) {
  const bool whole = node.kind == Kind::kInteger;
  if (whole || node.kind == Kind::kNumber) {
    const double value = whole ? static_cast<double>(node.integer) : node.number;
    if (in_range(value, text)) return value;
  }
  return Expected(with_range("a number", text));
}
Node Codec<double>::write(const double& value) { return Node::of(value); }

std::string Codec<std::string>::type_name(const OptionText& text) {
  return text.choices.empty() ? "text" : describe_range(text);
}
Parsed<std::string> Codec<std::string>::parse(const Node& node, const OptionText& text) {
  const bool is_text = node.kind == Kind::kText;
  if (!text.choices.empty()) {
    if (is_text && std::ranges::find(text.choices, node.text) != text.choices.end()) return node.text;
    return Expected(describe_range(text));
  }
  if (is_text && !(text.not_empty && node.text.empty())) return node.text;
  const bool scalar = node.kind == Kind::kInteger || node.kind == Kind::kNumber || node.kind == Kind::kBool;
  return Expected(std::string("a text") + (text.not_empty ? " that isn't empty" : "") +
                  (scalar ? " (put it in quotes)" : ""));
}
Node Codec<std::string>::write(const std::string& value) { return Node::of(value); }

std::string Codec<std::vector<std::int64_t>>::type_name(const OptionText& text) {
  return list_name("whole numbers", text);
}
Parsed<std::vector<std::int64_t>> Codec<std::vector<std::int64_t>>::parse(const Node& node, const OptionText& text) {
  return parse_list<std::int64_t>(node, text);
}
Node Codec<std::vector<std::int64_t>>::write(const std::vector<std::int64_t>& value) { return write_list(value); }

std::string Codec<std::vector<double>>::type_name(const OptionText& text) { return list_name("numbers", text); }
Parsed<std::vector<double>> Codec<std::vector<double>>::parse(const Node& node, const OptionText& text) {
  return parse_list<double>(node, text);
}
Node Codec<std::vector<double>>::write(const std::vector<double>& value) { return write_list(value); }

std::string Codec<std::vector<std::string>>::type_name(const OptionText& text) { return list_name("texts", text); }
Parsed<std::vector<std::string>> Codec<std::vector<std::string>>::parse(const Node& node, const OptionText& text) {
  return parse_list<std::string>(node, text);
}
Node Codec<std::vector<std::string>>::write(const std::vector<std::string>& value) { return write_list(value); }

}  // namespace retort::recipe
