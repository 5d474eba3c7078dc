#include "collect/prompt_source.h"

#include "collect/prompts.h"
#include "recipe/map_shape.h"

namespace retort::recipe {
namespace {

using collect::PromptSource;

constexpr const char* kWord = "self_generated";

const MapShape<PromptSource>& source_shape() {
  static const auto shape = MapShape<PromptSource>()
                                .add("file", &PromptSource::file, {.required = true, .not_empty = true})
                                .add("format", &PromptSource::format, {.choices = collect::prompt_format_names()})
                                .add("column", &PromptSource::column)
                                .add("skip_broken", &PromptSource::skip_broken);
  return shape;
}

}  // namespace

std::string Codec<PromptSource>::type_name(const OptionText&) {
  return std::string(kWord) + ", or " + source_shape().type_name();
}

Parsed<PromptSource> Codec<PromptSource>::parse(const Node& node, const OptionText& text) {
  if (node.kind == Node::Kind::kText && node.text == kWord) return PromptSource();
  if (node.kind != Node::Kind::kMap) return Expected(type_name(text));
  return source_shape().parse(node);
}

Node Codec<PromptSource>::write(const PromptSource& value) {
  if (!value.is_file()) return Node::of(std::string(kWord));
  // The format is written also where it is the default, as it always was.
  std::vector<Node::Member> members;
  members.push_back({"file", Node::of(value.file), 0});
  members.push_back({"format", Node::of(value.format), 0});
  if (!value.column.empty()) members.push_back({"column", Node::of(value.column), 0});
  if (value.skip_broken) members.push_back({"skip_broken", Node::of(true), 0});
  return Node::map(std::move(members));
}

}  // namespace retort::recipe
