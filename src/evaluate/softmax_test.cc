#include "evaluate/softmax.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "base/random.h"

namespace retort::evaluate {
namespace {

std::vector<float> random_row(std::size_t size, std::uint64_t seed, double scale = 4) {
  Random random(seed);
  std::vector<float> row(size);
  for (float& value : row) value = static_cast<float>(scale * random.normal());
  return row;
}

long double slow_lse(const std::vector<float>& x) {
  long double sum = 0;
  for (const float value : x) sum += std::exp(static_cast<long double>(value));
  return std::log(sum);
}

long double slow_kl(const std::vector<float>& p, const std::vector<float>& q) {
  const long double p_lse = slow_lse(p);
  const long double q_lse = slow_lse(q);
  long double sum = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    sum += std::exp(p[i] - p_lse) * ((p[i] - p_lse) - (q[i] - q_lse));
  }
  return sum;
}

TEST(Exp, IsWithinTwoUnitsInTheLastPlaceOfTheExactValue) {
  Random random(1);
  std::int64_t worst = 0;
  const auto check = [&](double x) {
    const double exact = static_cast<double>(std::exp(static_cast<long double>(x)));
    const auto ulps = std::abs(std::bit_cast<std::int64_t>(exp_non_positive(x)) - std::bit_cast<std::int64_t>(exact));
    worst = std::max(worst, static_cast<std::int64_t>(ulps));
  };
  for (int i = 0; i < 200000; ++i) check(-708.0 * random.uniform());
  for (int i = 0; i < 200000; ++i) check(-20.0 * random.uniform());
  for (int i = 0; i < 200000; ++i) check(-std::exp(-40 * random.uniform()));
  for (int n = 0; n <= 1021; ++n) check(-0.5 * std::log(2.0) * n);  // the seams of the range reduction
  EXPECT_LE(worst, 2);
  EXPECT_EQ(exp_non_positive(0.0), 1.0);
  EXPECT_EQ(exp_non_positive(-0.0), 1.0);
}

TEST(Exp, StaysTinyAndPositiveFarBelow) {
  for (const double x : {-708.0, -709.0, -745.0, -1e6, -1e300}) {
    EXPECT_GT(exp_non_positive(x), 0.0);
    EXPECT_LT(exp_non_positive(x), 4e-308);
  }
}

TEST(Row, AgreesWithTheClosedFormOfTwoTokens) {
  // p = 1 / (1 + exp(-d)).
  const std::vector<float> row = {1.5F, -0.5F};
  const RowSummary summary = summarise_row(row);
  const double p = 1 / (1 + std::exp(-2.0));
  EXPECT_TRUE(summary.finite);
  EXPECT_EQ(summary.top, 0U);
  EXPECT_NEAR(summary.top_probability, p, 1e-15);
  EXPECT_NEAR(std::exp(log_probability(row, summary, 1)), 1 - p, 1e-15);
  EXPECT_NEAR(summary.entropy, -p * std::log(p) - (1 - p) * std::log(1 - p), 1e-15);
}

TEST(Row, UniformHasEntropyLogV) {
  const std::vector<float> row(49152, -3.25F);
  const RowSummary summary = summarise_row(row);
  EXPECT_NEAR(summary.entropy, std::log(49152.0), 1e-12);
  EXPECT_NEAR(summary.log_sum_exp, -3.25 + std::log(49152.0), 1e-12);
  EXPECT_EQ(summary.top, 0U);  // the first of equals
}

TEST(Row, AgreesWithExtendedPrecisionForEveryLength) {
  for (std::size_t size = 1; size <= 40; ++size) {
    const auto p = random_row(size, size);
    const auto q = random_row(size, size + 1000);
    const RowSummary ps = summarise_row(p);
    const RowSummary qs = summarise_row(q);
    EXPECT_NEAR(ps.log_sum_exp, static_cast<double>(slow_lse(p)), 1e-13) << size;
    EXPECT_NEAR(kl_divergence(p, ps, q, qs), static_cast<double>(slow_kl(p, q)), 1e-12) << size;
    EXPECT_EQ(ps.top, static_cast<std::size_t>(std::max_element(p.begin(), p.end()) - p.begin())) << size;
  }
}

TEST(Row, HoldsUnderLargeLogits) {
  std::vector<float> row = random_row(1000, 3);
  for (float& value : row) value += 3e4F;
  const RowSummary summary = summarise_row(row);
  EXPECT_TRUE(summary.finite);
  double total = 0;
  for (std::size_t i = 0; i < row.size(); ++i) total += std::exp(log_probability(row, summary, i));
  EXPECT_NEAR(total, 1.0, 1e-9);
}

TEST(Row, SaysWhenALogitIsNotFinite) {
  for (const std::size_t at : {0UL, 5UL, 16UL, 18UL}) {
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()}) {
      auto row = random_row(19, 9);
      row[at] = bad;
      EXPECT_FALSE(summarise_row(row).finite) << at << " " << bad;
    }
  }
}

TEST(Kl, IsZeroForEqualRowsAndForShiftedOnes) {
  const auto p = random_row(49152, 5);
  const RowSummary summary = summarise_row(p);
  EXPECT_EQ(kl_divergence(p, summary, p, summary), 0.0);
  auto shifted = p;
  for (float& value : shifted) value += 4.0F;  // rounds in the last place of a float
  EXPECT_LT(kl_divergence(p, summary, shifted, summarise_row(shifted)), 1e-10);
}

TEST(Kl, IsNeverNegativeAndAgreesWithBruteForce) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const auto p = random_row(997, seed);
    auto q = p;
    Random random(seed + 77);
    const double scale = std::pow(10.0, -static_cast<double>(seed % 7));
    for (float& value : q) value += static_cast<float>(scale * random.normal());
    const double kl = kl_divergence(p, summarise_row(p), q, summarise_row(q));
    EXPECT_GE(kl, 0.0);
    EXPECT_NEAR(kl, static_cast<double>(slow_kl(p, q)), 1e-12);
  }
}

TEST(Kl, ClosedFormOfTwoTokens) {
  // KL(Bernoulli(a) || Bernoulli(b)).
  const double a = 0.8;
  const double b = 0.3;
  const std::vector<float> p = {static_cast<float>(std::log(a / (1 - a))), 0};
  const std::vector<float> q = {static_cast<float>(std::log(b / (1 - b))), 0};
  const double expected = a * std::log(a / b) + (1 - a) * std::log((1 - a) / (1 - b));
  EXPECT_NEAR(kl_divergence(p, summarise_row(p), q, summarise_row(q)), expected, 1e-7);
}

TEST(Kl, DoesNotDependOnTheOrderOfTheVocabulary) {
  const auto p = random_row(501, 21);
  const auto q = random_row(501, 22);
  std::vector<std::size_t> order(p.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  Random random(5);
  random.shuffle(order);
  std::vector<float> p2;
  std::vector<float> q2;
  for (const std::size_t i : order) {
    p2.push_back(p[i]);
    q2.push_back(q[i]);
  }
  EXPECT_NEAR(kl_divergence(p, summarise_row(p), q, summarise_row(q)),
              kl_divergence(p2, summarise_row(p2), q2, summarise_row(q2)), 1e-12);
}

}  // namespace
}  // namespace retort::evaluate
