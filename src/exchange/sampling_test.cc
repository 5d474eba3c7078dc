#include "exchange/sampling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <numeric>

namespace retort {
namespace {

using ::testing::HasSubstr;

SamplingOptions plain(double temperature = 1.0) {
  SamplingOptions options;
  options.temperature = temperature;
  options.top_p = 1;
  options.top_k = 0;
  options.min_p = 0;
  return options;
}

std::vector<float> logits_of(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

std::map<TokenId, double> frequencies(const std::vector<float>& logits, const SamplingOptions& options,
                                      int draws = 20000) {
  Sampler sampler;
  Random random(7);
  std::map<TokenId, double> result;
  for (int i = 0; i < draws; ++i) result[sampler.sample(logits, options, random)] += 1.0 / draws;
  return result;
}

// A long tail around a few likely tokens, as a language model's rows are.
std::vector<float> wide_row(std::size_t count) {
  Random random(3);
  std::vector<float> logits(count);
  for (float& value : logits) value = static_cast<float>(2.0 * random.normal());
  logits[count / 2] = 14;
  logits[count / 3] = 13;
  logits[count - 1] = 12.5;
  return logits;
}

TEST(SamplingTest, TemperatureZeroTakesTheMostLikelyAndTheFirstAmongEquals) {
  Sampler sampler;
  Random random(1);
  const std::uint64_t before = Random(1).next();
  EXPECT_EQ(sampler.sample(std::vector<float>{0, 3, 1, 3}, plain(0), random), 1);
  EXPECT_EQ(random.next(), before) << "greedy must not draw";
}

TEST(SamplingTest, DrawsInProportion) {
  const auto seen = frequencies(logits_of({0.5, 0.25, 0.15, 0.1}), plain());
  EXPECT_NEAR(seen.at(0), 0.5, 0.015);
  EXPECT_NEAR(seen.at(1), 0.25, 0.015);
  EXPECT_NEAR(seen.at(2), 0.15, 0.015);
  EXPECT_NEAR(seen.at(3), 0.1, 0.015);
}

TEST(SamplingTest, TemperatureSharpensBeforeTopP) {
  // At temperature 0.5 the probabilities 0.6, 0.3, 0.1 become 0.36, 0.09, 0.01 over 0.46.
  auto options = plain(0.5);
  const auto seen = frequencies(logits_of({0.6, 0.3, 0.1}), options);
  EXPECT_NEAR(seen.at(0), 0.36 / 0.46, 0.015);
  EXPECT_NEAR(seen.at(1), 0.09 / 0.46, 0.015);
  options.top_p = 0.95;  // 0.36 + 0.09 of 0.46 is 0.978: the third falls away only because it was sharpened first
  EXPECT_FALSE(frequencies(logits_of({0.6, 0.3, 0.1}), options).contains(2));
}

TEST(SamplingTest, TopPKeepsTheSmallestSetThatReachesIt) {
  auto options = plain();
  options.top_p = 0.74;
  const auto seen = frequencies(logits_of({0.15, 0.5, 0.1, 0.25}), options);
  EXPECT_EQ(seen.size(), 2U);
  EXPECT_NEAR(seen.at(1), 0.5 / 0.75, 0.015);
  EXPECT_NEAR(seen.at(3), 0.25 / 0.75, 0.015);
  options.top_p = 0.76;
  EXPECT_EQ(frequencies(logits_of({0.15, 0.5, 0.1, 0.25}), options).size(), 3U);
}

TEST(SamplingTest, TinyTopPKeepsOne) {
  auto options = plain();
  options.top_p = 1e-9;
  const auto seen = frequencies(logits_of({0.4, 0.35, 0.25}), options, 500);
  EXPECT_EQ(seen.size(), 1U);
  EXPECT_TRUE(seen.contains(0));
}

TEST(SamplingTest, TopPOfAFlatRowKeepsItsShare) {
  auto options = plain();
  options.top_p = 0.5;
  const std::vector<float> flat(1000, 1.5F);
  const auto seen = frequencies(flat, options, 20000);
  EXPECT_EQ(seen.size(), 500U);
  EXPECT_EQ(seen.rbegin()->first, 499) << "equals are ordered by id";
}

TEST(SamplingTest, TopKKeepsThatMany) {
  auto options = plain();
  options.top_k = 2;
  const auto seen = frequencies(logits_of({0.15, 0.5, 0.1, 0.25}), options);
  EXPECT_EQ(seen.size(), 2U);
  EXPECT_NEAR(seen.at(1), 0.5 / 0.75, 0.015);
  options.top_k = 100;  // more than there are: off
  EXPECT_EQ(frequencies(logits_of({0.15, 0.5, 0.1, 0.25}), options).size(), 4U);
}

TEST(SamplingTest, TopPIsTakenOfWhatTopKLeft) {
  auto options = plain();
  options.top_k = 2;
  options.top_p = 0.65;  // 0.5 of 0.75 is 0.667
  EXPECT_EQ(frequencies(logits_of({0.15, 0.5, 0.1, 0.25}), options, 500).size(), 1U);
}

TEST(SamplingTest, MinPIsRelativeToTheMostLikely) {
  auto options = plain();
  options.min_p = 0.4;  // of 0.5: at least 0.2
  const auto seen = frequencies(logits_of({0.15, 0.5, 0.1, 0.25}), options);
  EXPECT_EQ(seen.size(), 2U);
  EXPECT_TRUE(seen.contains(1) && seen.contains(3));
}

TEST(SamplingTest, WideRowsAgreeWithASortedReference) {
  const std::vector<float> logits = wide_row(12000);
  for (const double temperature : {0.3, 0.8, 1.0, 2.0}) {
    for (const double top_p : {0.5, 0.95, 0.999}) {
      // The reference: FP64 and a full sort.
      std::vector<double> weights;
      double total = 0;
      for (const float logit : logits) {
        weights.push_back(std::exp((static_cast<double>(logit) - 14.0) / temperature));
        total += weights.back();
      }
      std::vector<std::size_t> order(logits.size());
      std::iota(order.begin(), order.end(), std::size_t{0});
      std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return weights[a] > weights[b]; });
      std::size_t kept = 0;
      double mass = 0;
      while (mass < top_p * total) mass += weights[order[kept++]];
      double expected_rank_0 = weights[order[0]] / mass;

      auto options = plain(temperature);
      options.top_p = top_p;
      Sampler sampler;
      Random random(11);
      int first = 0;
      constexpr int kDraws = 500;
      std::vector<bool> allowed(logits.size());
      for (std::size_t i = 0; i < std::min(kept + 2, order.size()); ++i) allowed[order[i]] = true;
      for (int i = 0; i < kDraws; ++i) {
        const TokenId id = sampler.sample(logits, options, random);
        ASSERT_GE(id, 0);
        ASSERT_TRUE(allowed[static_cast<std::size_t>(id)]) << id << " is outside the nucleus of " << kept;
        if (static_cast<std::size_t>(id) == order[0]) ++first;
      }
      EXPECT_NEAR(static_cast<double>(first) / kDraws, expected_rank_0, 0.08) << temperature << " " << top_p;
    }
  }
}

TEST(SamplingTest, ASeedReproduces) {
  const std::vector<float> logits = wide_row(5000);
  SamplingOptions options;
  std::vector<TokenId> first;
  std::vector<TokenId> second;
  for (auto* ids : {&first, &second}) {
    Sampler sampler;
    Random random(42);
    for (int i = 0; i < 200; ++i) ids->push_back(sampler.sample(logits, options, random));
  }
  EXPECT_EQ(first, second);
  Sampler sampler;
  Random other(43);
  std::vector<TokenId> third;
  for (int i = 0; i < 200; ++i) third.push_back(sampler.sample(logits, options, other));
  EXPECT_NE(first, third);
}

TEST(SamplingTest, MinusInfinityIsNeverDrawnAndNotANumberIsReported) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const auto seen = frequencies({0, -kInfinity, 0}, plain(), 500);
  EXPECT_FALSE(seen.contains(1));
  Sampler sampler;
  Random random(1);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(sampler.sample(std::vector<float>{nan, nan}, plain(), random), -1);
  EXPECT_EQ(sampler.sample(std::vector<float>{-kInfinity, -kInfinity}, plain(), random), -1);
}

TEST(SamplingTest, OptionsOutOfRangeAreNamed) {
  SamplingOptions options;
  options.top_p = 0;
  const auto refused = check_sampling(options);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("top_p"));
  options = {};
  options.temperature = -1;
  EXPECT_FALSE(check_sampling(options));
  options = {};
  options.min_p = 1;
  EXPECT_FALSE(check_sampling(options));
  options = {};
  options.top_k = -1;
  EXPECT_FALSE(check_sampling(options));
  EXPECT_TRUE(check_sampling({}));
}

}  // namespace
}  // namespace retort
