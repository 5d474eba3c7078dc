#include "train/objective_options.h"

#include <utility>
#include <vector>

#include "train/train_options.h"

namespace retort::train {

ObjectiveMix objective_mix(const TrainOptions& options) {
  ObjectiveMix mix;
  const double share = options.cross_entropy_weight;
  for (std::size_t i = 0; i < kTerms; ++i) mix.weights[i] = (1.0 - share) * options.objective.by_term[i];
  mix.weight(Term::kCe) += share;
  mix.beta = options.beta;
  mix.skew = options.skew;
  mix.temperature = options.temperature;
  mix.temperature_squared = options.temperature_squared;
  return mix;
}

}  // namespace retort::train

namespace retort::recipe {

std::string Codec<train::ObjectiveWeights>::type_name(const OptionText& text) {
  return Codec<std::string>::type_name(text) + "; or {NAME: WEIGHT, …}";
}

Parsed<train::ObjectiveWeights> Codec<train::ObjectiveWeights>::parse(const Node& node, const OptionText& text) {
  train::ObjectiveWeights value;
  value.by_term = {};
  if (node.kind != Node::Kind::kMap) {
    const auto name = Codec<std::string>::parse(node, text);
    const auto term = name ? train::term_from_name(*name) : Result<train::Term>(caller_error(""));
    if (!term) return Expected(type_name(text));
    value.by_term[static_cast<std::size_t>(*term)] = 1;
    return value;
  }
  if (node.members.empty()) return Expected(type_name(text) + ", with at least one name");
  for (const Node::Member& member : node.members) {
    const auto term = train::term_from_name(member.key);
    if (!term) return Expected(type_name(text) + "; there is no objective '" + member.key + "'");
    const auto weight = Codec<double>::parse(member.value, {.minimum = 0, .maximum = 1000, .above_minimum = true});
    if (!weight) return Expected("for the weight of " + member.key + " " + weight.error());
    value.by_term[static_cast<std::size_t>(*term)] = *weight;
  }
  return value;
}

Node Codec<train::ObjectiveWeights>::write(const train::ObjectiveWeights& value) {
  std::vector<Node::Member> members;
  for (std::size_t i = 0; i < train::kTerms; ++i) {
    if (value.by_term[i] == 0) continue;
    members.push_back({train::term_names()[i], Node::of(value.by_term[i]), 0});
  }
  if (members.size() == 1 && members.front().value.number == 1) return Node::of(members.front().key);
  return Node::map(std::move(members));
}

}  // namespace retort::recipe
