#include "evaluate/bootstrap.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/random.h"

namespace retort::evaluate {
namespace {

TEST(Bootstrap, ValueIsTheRatioOfSums) {
  const std::vector<double> kl = {2, 0, 9};
  const std::vector<double> tokens = {1, 2, 3};
  const Estimate estimate = bootstrap_ratio(kl, tokens, {});
  EXPECT_DOUBLE_EQ(estimate.value, 11.0 / 6.0);  // not the mean of 2, 0 and 3
  EXPECT_LE(estimate.low, estimate.value);
  EXPECT_GE(estimate.high, estimate.value);
}

TEST(Bootstrap, SameSeedSameInterval) {
  Random random(4);
  std::vector<double> values;
  const std::vector<double> ones(50, 1.0);
  for (int i = 0; i < 50; ++i) values.push_back(random.normal());
  const Estimate first = bootstrap_ratio(values, ones, {.seed = 7});
  const Estimate second = bootstrap_ratio(values, ones, {.seed = 7});
  const Estimate other = bootstrap_ratio(values, ones, {.seed = 8});
  EXPECT_EQ(first.low, second.low);
  EXPECT_EQ(first.high, second.high);
  EXPECT_NE(first.low, other.low);
}

TEST(Bootstrap, HasNoIntervalBelowTwoExchanges) {
  const Estimate none = bootstrap_ratio({}, {}, {});
  EXPECT_EQ(none.value, 0);
  const std::vector<double> one = {3};
  const std::vector<double> tokens = {2};
  const Estimate single = bootstrap_ratio(one, tokens, {});
  EXPECT_EQ(single.value, 1.5);
  EXPECT_EQ(single.low, 1.5);
  EXPECT_EQ(single.high, 1.5);
}

TEST(Bootstrap, IntervalOfAMeanHasTheNormalWidth) {
  Random random(11);
  const std::size_t n = 400;
  std::vector<double> values;
  const std::vector<double> ones(n, 1.0);
  double sum = 0;
  double squares = 0;
  for (std::size_t i = 0; i < n; ++i) {
    values.push_back(5 + 2 * random.normal());
    sum += values.back();
    squares += values.back() * values.back();
  }
  const double mean = sum / n;
  const double standard_error = std::sqrt((squares / n - mean * mean) / n);
  const Estimate estimate = bootstrap_ratio(values, ones, {.resamples = 4000});
  EXPECT_NEAR(estimate.low, mean - 1.96 * standard_error, 0.15 * standard_error);
  EXPECT_NEAR(estimate.high, mean + 1.96 * standard_error, 0.15 * standard_error);
}

// The interval must hold the truth about as often as it says, for token-weighted ratios where exchanges differ in
// length and in difficulty.
TEST(Bootstrap, CoversTheTruthAboutNinetyFiveTimesInAHundred) {
  Random random(2026);
  const int trials = 400;
  int covered = 0;
  for (int trial = 0; trial < trials; ++trial) {
    std::vector<double> kl;
    std::vector<double> tokens;
    for (int exchange = 0; exchange < 128; ++exchange) {
      const double length = 20 + 130 * random.uniform();
      const double difficulty = 0.6 + 0.2 * random.normal();
      tokens.push_back(length);
      kl.push_back(length * difficulty);
    }
    const Estimate estimate =
        bootstrap_ratio(kl, tokens, {.resamples = 500, .seed = static_cast<std::uint64_t>(trial)});
    if (estimate.low <= 0.6 && 0.6 <= estimate.high) ++covered;
  }
  EXPECT_GE(covered, 0.91 * trials);
  EXPECT_LE(covered, 0.985 * trials);
}

}  // namespace
}  // namespace retort::evaluate
