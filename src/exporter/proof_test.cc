#include "exporter/proof.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/random.h"

namespace retort::exporter {
namespace {

using ::testing::HasSubstr;

// Logits drawn from the position, plus `noise` on one of them.
class ScriptedScorer final : public Scorer {
 public:
  ScriptedScorer(std::size_t vocabulary, float noise) : vocabulary_(vocabulary), noise_(noise) {}
  std::size_t vocabulary() const override { return vocabulary_; }
  std::size_t context_tokens() const override { return 1000; }
  Result<void> score(std::span<const TokenId> ids, std::size_t first_row,
                     const std::function<Result<void>(const LogitRows&)>& visit) override {
    // Two rows at a time, so that chunks must be put together rightly.
    for (std::size_t position = first_row; position < ids.size(); position += 2) {
      const std::size_t rows = std::min<std::size_t>(2, ids.size() - position);
      std::vector<float> logits;
      for (std::size_t r = 0; r < rows; ++r) {
        Random random(position + r);
        for (std::size_t i = 0; i < vocabulary_; ++i) logits.push_back(static_cast<float>(random.normal()));
        logits[r * vocabulary_ + 1] += noise_;
      }
      RETORT_TRY(visit({position, rows, vocabulary_, logits.data()}));
    }
    return {};
  }

 private:
  std::size_t vocabulary_;
  float noise_;
};

const std::vector<std::vector<TokenId>> kSequences = {{1, 1, 1, 2}, {3, 1, 2}, {4}};

Result<Agreement> compared(float noise) {
  ScriptedScorer trained(8, 0);
  ScriptedScorer exported(8, noise);
  SilentProgress progress;
  return compare(trained, exported, kSequences, progress, {});
}

TEST(ProofTest, EqualModelsAgree) {
  const auto agreement = compared(0);
  ASSERT_TRUE(agreement) << agreement.error().message;
  EXPECT_EQ(agreement->positions, 5);
  EXPECT_EQ(agreement->max_difference, 0);
  EXPECT_NEAR(agreement->mean_kl, 0, 1e-12);
  EXPECT_EQ(agreement->top1_agreement, 1);
  EXPECT_TRUE(check_agreement(*agreement, gguf::TensorType::kF32, "f"));
}

TEST(ProofTest, DifferencesAreSeen) {
  const auto agreement = compared(0.3F);
  ASSERT_TRUE(agreement);
  // By hand: where token 1 comes next its log-probability rises by 0.3 less the change of the norm.
  double mean = 0;
  double kl = 0;
  double worst = 0;
  double worst_kl = 0;
  for (const auto& ids : kSequences) {
    for (std::size_t t = 0; t + 1 < ids.size(); ++t) {
      Random random(t);
      std::vector<double> p(8);
      for (double& value : p) value = static_cast<double>(static_cast<float>(random.normal()));
      std::vector<double> q = p;
      q[1] = static_cast<double>(static_cast<float>(p[1]) + 0.3F);
      double zp = 0;
      double zq = 0;
      for (std::size_t i = 0; i < 8; ++i) {
        zp += std::exp(p[i]);
        zq += std::exp(q[i]);
      }
      double row_kl = 0;
      for (std::size_t i = 0; i < 8; ++i) row_kl += std::exp(p[i]) / zp * (p[i] - q[i] - std::log(zp) + std::log(zq));
      kl += row_kl;
      worst_kl = std::max(worst_kl, row_kl);
      const auto next = static_cast<std::size_t>(ids[t + 1]);
      const double difference = std::fabs(p[next] - q[next] - std::log(zp) + std::log(zq));
      mean += difference;
      worst = std::max(worst, difference);
    }
  }
  EXPECT_NEAR(agreement->mean_difference, mean / 5, 1e-9);
  EXPECT_NEAR(agreement->max_difference, worst, 1e-9);
  EXPECT_NEAR(agreement->mean_kl, kl / 5, 1e-9);
  EXPECT_NEAR(agreement->max_kl, worst_kl, 1e-9);
  const auto refused = check_agreement(*agreement, gguf::TensorType::kF16, "student-F16.gguf");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().fault, Fault::kWorld);
  EXPECT_THAT(refused.error().message, HasSubstr("student-F16.gguf"));
}

TEST(ProofTest, LimitsByType) {
  // Of a word that the student all but rules out: rounding to 16 bits may move its log-probability.
  Agreement agreement{
      .positions = 10, .mean_difference = 0.008, .max_difference = 0.7, .mean_kl = 4e-4, .max_kl = 0.04};
  EXPECT_TRUE(check_agreement(agreement, gguf::TensorType::kF16, "f"));
  EXPECT_TRUE(check_agreement(agreement, gguf::TensorType::kBF16, "f"));
  EXPECT_FALSE(check_agreement(agreement, gguf::TensorType::kF32, "f"));
  agreement.max_kl = 0.06;
  EXPECT_FALSE(check_agreement(agreement, gguf::TensorType::kF16, "f"));
  EXPECT_TRUE(check_agreement(agreement, gguf::TensorType::kQ8_0, "f"));
  agreement.max_kl = 0.04;
  agreement.mean_kl = 6e-4;
  EXPECT_FALSE(check_agreement(agreement, gguf::TensorType::kF16, "f"));
  agreement = {.positions = 10, .mean_difference = 9e-5, .max_difference = 9e-4, .mean_kl = 1e-8, .max_kl = 1e-7};
  EXPECT_TRUE(check_agreement(agreement, gguf::TensorType::kF32, "f"));
  agreement.max_difference = 2e-3;
  EXPECT_FALSE(check_agreement(agreement, gguf::TensorType::kF32, "f"));
  agreement.mean_kl = 0.04;
  EXPECT_FALSE(check_agreement(agreement, gguf::TensorType::kQ8_0, "f"));
  EXPECT_TRUE(check_agreement(agreement, gguf::TensorType::kQ5_1, "f"));
  agreement.mean_kl = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(check_agreement(agreement, gguf::TensorType::kQ4_0, "f"));
  agreement = {.positions = 10, .max_kl = std::numeric_limits<double>::quiet_NaN()};
  EXPECT_FALSE(check_agreement(agreement, gguf::TensorType::kF16, "f"));
  agreement = {.positions = 10, .max_difference = std::numeric_limits<double>::quiet_NaN()};
  EXPECT_FALSE(check_agreement(agreement, gguf::TensorType::kF32, "f"));
}

TEST(ProofTest, BadInputIsRefused) {
  ScriptedScorer trained(8, 0);
  ScriptedScorer wider(9, 0);
  SilentProgress progress;
  EXPECT_FALSE(compare(trained, wider, kSequences, progress, {}));
  EXPECT_FALSE(compare(trained, trained, std::vector<std::vector<TokenId>>{{1}}, progress, {}));
  EXPECT_FALSE(compare(trained, trained, std::vector<std::vector<TokenId>>{{1, 99}}, progress, {}));
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(compare(trained, trained, kSequences, progress, stop.get_token()).error().fault, Fault::kInterrupted);
}

}  // namespace
}  // namespace retort::exporter
