#include "model/tensor_draw.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <limits>
#include <vector>

#include "exchange/sampling.h"

namespace retort::model {
namespace {

TEST(TensorDraw, GivesTheTokensOfTheSampler) {
  torch::manual_seed(2);
  constexpr std::int64_t kRows = 400, kVocabulary = 500;
  const torch::Tensor logits = 3 * torch::randn({kRows, kVocabulary});
  logits[7].fill_(-std::numeric_limits<float>::infinity());
  logits[8][3] = std::numeric_limits<float>::quiet_NaN();
  logits[9].narrow(0, 0, 490).fill_(-std::numeric_limits<float>::infinity());
  std::vector<Random> ours, theirs;
  for (std::uint64_t row = 0; row < kRows; ++row) {
    ours.emplace_back(row);
    theirs.emplace_back(row);
  }
  std::vector<Draw> draws;
  for (std::int64_t row = 0; row < kRows; ++row) {
    draws.push_back({row % 4 == 0 ? 0.0 : 0.4 * static_cast<double>(row % 4), &ours[static_cast<std::size_t>(row)]});
  }
  const std::vector<TokenId> drawn = draw_by_tensors(logits, draws);
  Sampler sampler;
  std::int64_t different = 0;
  for (std::size_t row = 0; row < drawn.size(); ++row) {
    SamplingOptions sampling;
    sampling.temperature = draws[row].temperature;
    sampling.top_p = 1;
    ASSERT_TRUE(is_uncut(sampling, kVocabulary));
    if (row == 8) {
      EXPECT_EQ(drawn[row], -1);
      continue;
    }
    const std::span<const float> own(logits.const_data_ptr<float>() + row * kVocabulary, kVocabulary);
    const TokenId expected = sampler.sample(own, sampling, theirs[row]);
    if (draws[row].temperature == 0 || row == 7) {
      EXPECT_EQ(drawn[row], expected) << row;
    }
    different += drawn[row] == expected ? 0 : 1;
  }
  EXPECT_LE(different, 1);  // where a draw meets the border between two tokens
  EXPECT_GE(drawn[9], 490);
}

TEST(TensorDraw, LeavesCutDistributionsToTheSampler) {
  SamplingOptions sampling;
  sampling.temperature = 1;
  sampling.top_p = 1;
  sampling.top_k = 0;
  sampling.min_p = 0;
  EXPECT_TRUE(is_uncut(sampling, 50));
  sampling.top_k = 50;
  EXPECT_TRUE(is_uncut(sampling, 50));
  sampling.top_k = 49;
  EXPECT_FALSE(is_uncut(sampling, 50));
  sampling.top_k = 0;
  sampling.top_p = 0.9;
  EXPECT_FALSE(is_uncut(sampling, 50));
  sampling.top_p = 1;
  sampling.min_p = 0.1;
  EXPECT_FALSE(is_uncut(sampling, 50));
  sampling.temperature = 0;
  EXPECT_TRUE(is_uncut(sampling, 50));
}

}  // namespace
}  // namespace retort::model
