#include "recipe/choices.h"

namespace retort::recipe {

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

}  // namespace retort::recipe
