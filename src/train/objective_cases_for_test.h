// Objectives, targets and tensors as the reference takes them, for the tests of what computes objectives elsewhere.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "exchange/exchange.h"
#include "train/objective_mix.h"

namespace retort::train {

inline std::vector<double> doubles(const at::Tensor& tensor) {
  const at::Tensor wide = tensor.to(at::kCPU, at::kDouble).contiguous();
  return {wide.const_data_ptr<double>(), wide.const_data_ptr<double>() + wide.numel()};
}

inline std::vector<TokenId> labels(std::int64_t rows, std::int64_t vocabulary) {
  std::vector<TokenId> all;
  for (std::int64_t i = 0; i < rows; ++i) all.push_back(static_cast<TokenId>((i * 13 + 5) % vocabulary));
  return all;
}

inline std::vector<ObjectiveMix> objectives() {
  std::vector<ObjectiveMix> all;
  for (std::size_t i = 0; i < kTerms; ++i) {
    for (const double temperature : {1.0, 2.0}) {
      ObjectiveMix mix;
      mix.weights[i] = 1;
      mix.beta = mix.skew = 0.3;
      mix.temperature = temperature;
      mix.temperature_squared = i % 2 == 0;
      all.push_back(mix);
    }
  }
  ObjectiveMix mixed;
  mixed.weights = {0.4, 0.2, 0.3, 0.1, 0.2, 0.5, 0.3};
  all.push_back(mixed);
  return all;
}

}  // namespace retort::train
