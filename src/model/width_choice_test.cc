#include "model/width_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>

namespace retort::model {
namespace {

using ::testing::HasSubstr;

DecoderConfig config_of() {
  DecoderConfig config;
  config.architecture = "qwen3";
  config.layers = 2;
  config.hidden = 24;
  config.heads = 6;
  config.kv_heads = 3;
  config.head_dim = 8;
  config.intermediate = 20;
  config.vocabulary = 40;
  config.context = 64;
  config.qkv_bias = true;
  config.qk_norm = true;
  config.source_layers = {0, 1};
  return config;
}

// Weights in which some channels and one key-value head of every layer do nothing.
Decoder with_idle_parts(std::int64_t idle_head) {
  const DecoderConfig config = config_of();
  torch::manual_seed(4);
  std::vector<NamedTensor> tensors;
  for (const auto& name : tensor_names(config)) {
    auto values = 0.3 * torch::randn(tensor_shape(config, name));
    if (name.ends_with("norm.weight")) values += 1;
    if (name.ends_with("ffn_up.weight")) {
      for (const std::int64_t channel : {3, 11, 12}) values[channel].zero_();
    }
    if (name.find("attn_v.") != std::string::npos) values.narrow(0, idle_head * 8, 8).zero_();
    tensors.push_back({name, values});
  }
  auto decoder = Decoder::from_tensors(config, tensors, ComputeType::kFloat32);
  RETORT_CHECK(decoder.has_value());
  return *decoder;
}

const std::vector<MeasuredSequence> kSequences = {{{1, 5, 9, 13, 2, 7}, {}}, {{30, 31, 8, 8}, {}}};

TEST(WidthChoice, WhatDoesNothingGoesAndTheRestComputesTheSame) {
  for (const std::int64_t idle : {0, 2}) {
    const Decoder decoder = with_idle_parts(idle);
    const WidthOptions options{.intermediate = 17, .kv_heads = 2};
    const auto choice = choose_widths(decoder, kSequences, options, {});
    ASSERT_TRUE(choice) << choice.error().message;
    EXPECT_EQ(choice->measured_tokens, 10);
    for (const auto& layer : choice->layers) {
      for (const std::int64_t channel : {3, 11, 12}) EXPECT_EQ(std::ranges::count(layer.channels, channel), 0);
      EXPECT_EQ(std::ranges::count(layer.kv_heads, idle), 0);
      EXPECT_EQ(layer.head_importance[static_cast<std::size_t>(idle)], 0);
    }
    const auto narrow = narrowed(decoder, options, *choice);
    ASSERT_TRUE(narrow) << narrow.error().message;
    EXPECT_EQ(narrow->config().heads, 4);
    EXPECT_EQ(narrow->config().kv_heads, 2);
    EXPECT_EQ(narrow->config().head_dim, 8);
    EXPECT_EQ(narrow->config().intermediate, 17);
    EXPECT_LT(parameter_count(narrow->config()), parameter_count(decoder.config()));
    const auto batch = single_document(std::vector<std::int32_t>{4, 9, 1, 33, 2});
    EXPECT_LT((narrow->forward(batch) - decoder.forward(batch)).abs().max().item<double>(), 1e-5);
  }
}

TEST(WidthChoice, ImportanceIsTheMeanMagnitude) {
  const Decoder decoder = with_idle_parts(0);
  const std::vector<MeasuredSequence> sequences = {{{1, 5, 9}, {}}};
  const auto choice = choose_widths(decoder, sequences, {.intermediate = 1, .kv_heads = 1}, {});
  ASSERT_TRUE(choice);
  // The first layer by its formulae, the attention's part from its own observation.
  torch::Tensor attended;
  decoder.look_inside(single_document(sequences[0].ids), [&](std::int64_t layer, const auto& a, const auto&) {
    if (layer == 0) attended = a.clone();
  });
  std::map<std::string, torch::Tensor> w;
  for (const auto& [name, tensor] : decoder.named_parameters()) w[name] = tensor;
  auto x = w.at("token_embd.weight").index_select(0, torch::tensor({1, 5, 9}));
  x = x + attended.mm(w.at("blk.0.attn_output.weight").t());
  const auto h = x * torch::rsqrt(x.pow(2).mean(-1, true) + 1e-5) * w.at("blk.0.ffn_norm.weight");
  const auto activated = torch::silu(h.mm(w.at("blk.0.ffn_gate.weight").t())) * h.mm(w.at("blk.0.ffn_up.weight").t());
  const auto channels = activated.abs().mean(0);
  const auto heads = attended.view({3, 3, 16}).norm(2, {2}).mean(0);
  for (std::int64_t i = 0; i < 20; ++i) {
    EXPECT_NEAR(choice->layers[0].channel_importance[static_cast<std::size_t>(i)], channels[i].item<double>(), 1e-5);
  }
  for (std::int64_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(choice->layers[0].head_importance[static_cast<std::size_t>(i)], heads[i].item<double>(), 1e-5);
  }
  EXPECT_EQ(choice->layers[0].channels, std::vector<std::int64_t>{channels.argmax().item<std::int64_t>()});
}

TEST(WidthChoice, RefusesImpossibleOnes) {
  const Decoder decoder = with_idle_parts(0);
  EXPECT_THAT(choose_widths(decoder, kSequences, {.intermediate = 21}, {}).error().message, HasSubstr("has 20"));
  EXPECT_THAT(choose_widths(decoder, kSequences, {.kv_heads = 4}, {}).error().message, HasSubstr("has 3"));
  EXPECT_FALSE(choose_widths(decoder, {}, {.kv_heads = 2}, {}));
}

TEST(Fresh, IsScaledAsSaidAndRepeatable) {
  DecoderConfig config = config_of();
  config.layers = 8;
  config.source_layers = {0, 1, 2, 3, 4, 5, 6, 7};
  config.hidden = 128;
  const auto first = Decoder::fresh(config, 7, ComputeType::kFloat32);
  const auto again = Decoder::fresh(config, 7, ComputeType::kFloat32);
  const auto other = Decoder::fresh(config, 8, ComputeType::kFloat32);
  ASSERT_TRUE(first);
  const auto parameters = first->named_parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto& [name, tensor] = parameters[i];
    EXPECT_TRUE(torch::equal(tensor, again->named_parameters()[i].tensor));
    if (name.ends_with(".bias")) {
      EXPECT_EQ(tensor.abs().max().item<double>(), 0) << name;
    } else if (tensor.dim() == 1) {
      EXPECT_TRUE(torch::equal(tensor, torch::ones_like(tensor))) << name;
    } else {
      EXPECT_FALSE(torch::equal(tensor, other->named_parameters()[i].tensor));
      const bool writes = name.ends_with("attn_output.weight") || name.ends_with("ffn_down.weight");
      EXPECT_NEAR(tensor.std().item<double>(), writes ? 0.005 : 0.02, writes ? 0.0005 : 0.002) << name;
    }
  }
}

}  // namespace
}  // namespace retort::model
