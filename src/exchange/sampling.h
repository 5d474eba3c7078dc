// Draws the next token from a row of logits.
//
// The order is the usual one: temperature, then top-k, top-p and min-p on the tempered distribution; each keeps at
// least the most likely token, and the rest is renormalised. Among equal logits the lower id is kept first, and the
// draw runs over ids in ascending order, so that a seed means the same everywhere. Temperature 0 takes the most likely
// token and draws nothing.
//
// Written for vocabularies of 10^5: passes over the row are linear and simple enough for vector instructions, and
// nothing is sorted. A Sampler keeps scratch memory: one thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "exchange/exchange.h"

namespace retort {

// Error: what is out of range (temperature < 0, top_p outside (0, 1], top_k < 0, min_p outside [0, 1)).
Result<void> check_sampling(const SamplingOptions& options);

class Sampler {
 public:
  // `logits` are finite or -inf, at least one finite. Draws once from `random` unless the choice is certain by options
  // (temperature 0).
  TokenId sample(std::span<const float> logits, const SamplingOptions& options, Random& random);

 private:
  struct Candidate {
    float weight;  // exp((logit - max) / temperature)
    TokenId id;
  };
  template <class Enough>
  void keep_best(const Enough& enough);
  double candidates_above(std::span<const float> weights, float threshold);

  std::vector<float> weights_;
  std::vector<Candidate> candidates_;  // ascending by id
  std::vector<Candidate> selection_;
};

}  // namespace retort
