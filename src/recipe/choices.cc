#include "recipe/choices.h"

#include <algorithm>

#include "recipe/schema.h"

namespace retort::recipe {

namespace {

std::string joined(const std::vector<std::string>& words, std::string_view separator) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : std::string(separator)) + word;
  return out;
}

bool contains(const std::vector<std::string>& words, const std::string& word) {
  return std::ranges::find(words, word) != words.end();
}

}  // namespace

std::int64_t CountOrList::count() const {
  return is_list() ? static_cast<std::int64_t>(std::get<1>(value).size()) : std::get<0>(value);
}

std::vector<std::int64_t> CountOrList::list() const {
  return is_list() ? std::get<1>(value) : std::vector<std::int64_t>();
}

std::string Codec<CountOrList>::type_name(const OptionText& text) {
  return Codec<std::int64_t>::type_name(text) + ", or list of indices";
}

Parsed<CountOrList> Codec<CountOrList>::parse(const Node& node, const OptionText& text) {
  if (node.kind == Node::Kind::kList) {
    std::vector<std::int64_t> indices;
    bool good = !node.items.empty();
    for (const Node& item : node.items) {
      good = good && item.kind == Node::Kind::kInteger && item.integer >= 0 &&
             (indices.empty() || item.integer > indices.back());
      indices.push_back(item.integer);
    }
    if (good) return CountOrList{std::move(indices)};
    return Expected("a list of at least one index, whole numbers from 0, ascending and each once");
  }
  auto count = Codec<std::int64_t>::parse(node, text);
  if (!count) return Expected(count.error() + ", or a list of indices");
  return CountOrList{*count};
}

Node Codec<CountOrList>::write(const CountOrList& value) {
  return value.is_list() ? Codec<std::vector<std::int64_t>>::write(std::get<1>(value.value))
                         : Node::of(std::get<0>(value.value));
}

std::string Codec<WordOrFile>::type_name(const OptionText& text) {
  const std::string file_shape =
      "{file: PATH, format: " + (text.formats.empty() ? std::string("FORMAT") : joined(text.formats, " | ")) + "}";
  return (text.choices.empty() ? "" : joined(text.choices, ", ") + ", or ") + file_shape;
}

Parsed<WordOrFile> Codec<WordOrFile>::parse(const Node& node, const OptionText& text) {
  const std::string wanted = type_name(text);
  if (node.kind == Node::Kind::kText && contains(text.choices, node.text)) return WordOrFile{node.text, "", ""};
  if (node.kind != Node::Kind::kMap) return Expected(wanted);
  WordOrFile value;
  for (const Node::Member& member : node.members) {
    const bool is_text = member.value.kind == Node::Kind::kText && !member.value.text.empty();
    if (member.key == "file" && is_text) {
      value.file = member.value.text;
    } else if (member.key == "format" && is_text &&
               (text.formats.empty() || contains(text.formats, member.value.text))) {
      value.format = member.value.text;
    } else {
      return Expected(wanted + "; the part '" + member.key + "' is " + describe(member.value));
    }
  }
  if (value.file.empty()) return Expected(wanted + "; the part 'file' is missing");
  if (value.format.empty() && !text.formats.empty()) value.format = text.formats.front();
  return value;
}

Node Codec<WordOrFile>::write(const WordOrFile& value) {
  if (!value.is_file()) return Node::of(value.word);
  std::vector<Node::Member> members;
  members.push_back({"file", Node::of(value.file), 0});
  if (!value.format.empty()) members.push_back({"format", Node::of(value.format), 0});
  return Node::map(std::move(members));
}

}  // namespace retort::recipe
