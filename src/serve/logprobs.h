// Log-probabilities of a row of logits: those of the model itself, at temperature 1 and over the whole vocabulary,
// whatever the request samples with (as `retort score` prints them). Natural logarithm, FP64. Pure; any thread.
#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "exchange/exchange.h"

namespace retort::serve {

struct RowLogprobs {
  bool finite = false;  // every logit was; when false the others mean nothing
  double logprob = 0;   // of the token asked about
  // The likeliest, best first; among equals the lower id.
  std::vector<std::pair<TokenId, double>> top;
};

RowLogprobs row_logprobs(std::span<const float> logits, TokenId id, std::size_t top);

}  // namespace retort::serve
