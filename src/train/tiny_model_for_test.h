// A decoder small enough for finite differences, and something for it to learn. For the module's tests.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "dataset/example.h"
#include "model/decoder.h"
#include "train/adamw.h"

namespace retort::train {

inline model::DecoderConfig tiny_config(bool tied, std::int64_t layers, std::int64_t vocabulary = 61) {
  model::DecoderConfig config;
  config.layers = layers;
  config.hidden = 32;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 8;
  config.intermediate = 48;
  config.vocabulary = vocabulary;
  config.context = 128;
  config.tied_head = tied;
  for (std::int64_t layer = 0; layer < layers; ++layer) config.source_layers.push_back(layer);
  return config;
}

inline model::Decoder tiny_decoder(const model::DecoderConfig& config, std::uint64_t seed, model::ComputeType compute) {
  torch::manual_seed(seed);
  std::vector<model::NamedTensor> tensors;
  for (const std::string& name : model::tensor_names(config)) {
    const auto shape = model::tensor_shape(config, name);
    auto values = shape.size() == 1 ? 1 + 0.1 * torch::randn(shape)
                                    : torch::randn(shape) * (name == "token_embd.weight" ? 0.3 : 0.15);
    tensors.push_back({name, values});
  }
  auto decoder = model::Decoder::from_tensors(config, tensors, compute);
  RETORT_CHECK(decoder.has_value());
  return std::move(*decoder);
}

// Documents with something to learn: the next token follows from the one before.
inline std::vector<dataset::Example> tiny_examples(std::size_t count, std::size_t first = 0) {
  std::vector<dataset::Example> all;
  for (std::size_t i = first; i < first + count; ++i) {
    dataset::Example example;
    std::size_t id = i * 17 % 61;
    for (std::size_t j = 0; j < 6 + i * 5 % 11; ++j) {
      example.ids.push_back(static_cast<TokenId>(id));
      example.supervised.push_back(j >= 2 ? 1 : 0);
      id = (id * 7 + 3) % 61;
    }
    all.push_back(example);
  }
  return all;
}

// Slope of loss() along `direction` in a parameter's master, by central differences; the master is put back.
template <class Loss>
double slope_along(AdamWParameter& parameter, const torch::Tensor& direction, const Loss& loss) {
  constexpr double kStep = 4e-3;
  const torch::Tensor saved = parameter.master.whole.clone();
  parameter.master.whole.copy_(saved + kStep * direction);
  const double above = loss();
  parameter.master.whole.copy_(saved - kStep * direction);
  const double below = loss();
  parameter.master.whole.copy_(saved);
  return (above - below) / (2 * kStep);
}

}  // namespace retort::train
