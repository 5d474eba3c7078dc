// Drawing next tokens where the logits are: what exchange/sampling.h does with an uncut distribution, for rows of a
// tensor on any device, so that only the tokens leave it.
//
// The same token from the same draw, to rounding: the running sums are FP64 there and here, but of FP32 exponentials
// that differ in the last bit. One thread.
#pragma once

#include <torch/types.h>

#include <span>
#include <vector>

#include "base/random.h"
#include "exchange/exchange.h"

namespace retort::model {

// Whether nothing is cut from the distribution, so that draw_by_tensors() knows what to do.
bool is_uncut(const SamplingOptions& sampling, std::int64_t vocabulary);

struct Draw {
  double temperature = 1;
  Random* random = nullptr;  // drawn from once, unless the temperature is 0
};

// logits: [draws.size(), vocabulary]. Returns a token a row; -1 where no logit is finite.
std::vector<TokenId> draw_by_tensors(const torch::Tensor& logits, std::span<const Draw> draws);

}  // namespace retort::model
