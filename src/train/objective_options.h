// How a recipe says what is minimised: one name, or names with weights.
//
//   objective: reverse_kl
//   objective: {forward_kl: 0.7, reverse_kl: 0.3}
//
// A plain value and its recipe::Codec; any thread.
#pragma once

#include <array>
#include <string>

#include "recipe/codec.h"
#include "train/objective_mix.h"

namespace retort::train {

struct TrainOptions;

struct ObjectiveWeights {
  std::array<double, kTerms> by_term = {1};  // by Term: forward_kl alone

  double of(Term term) const { return by_term[static_cast<std::size_t>(term)]; }
  bool operator==(const ObjectiveWeights&) const = default;
};

// What the options say together: names and weights, cross_entropy_weight, beta, skew and temperature.
ObjectiveMix objective_mix(const TrainOptions& options);

}  // namespace retort::train

namespace retort::recipe {

template <>
struct Codec<train::ObjectiveWeights> {
  static std::string type_name(const OptionText& text);
  static Parsed<train::ObjectiveWeights> parse(const Node& node, const OptionText& text);
  static Node write(const train::ObjectiveWeights& value);
};

}  // namespace retort::recipe
