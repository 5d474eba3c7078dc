#include "evaluate/health.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/random.h"
#include "evaluate/scripted_scorer_for_test.h"
#include "exchange/repetition.h"

namespace retort::evaluate {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TokenComparison token(std::uint32_t position, TokenId id, double kl) {
  TokenComparison result;
  result.position = position;
  result.id = id;
  result.kl_nats = kl;
  return result;
}

constexpr TokenId kEnd = 9;
const std::vector<TokenId> kEnds = {kEnd};

TEST(Health, PartsOfTheTextAreKeptApart) {
  std::vector<std::vector<TokenComparison>> tokens(2);
  // Two answers in the first exchange: positions start again with the second.
  for (std::uint32_t i = 0; i < 6; ++i) tokens[0].push_back(token(10 + i, 1, i < 4 ? 1.0 : 3.0));
  for (std::uint32_t i = 0; i < 2; ++i) tokens[0].push_back(token(30 + i, 1, 1.0));
  for (std::uint32_t i = 0; i < 20; ++i) tokens[1].push_back(token(5 + i, 1, i < 16 ? 2.0 : 5.0));
  const Health health = measure_health(tokens, std::vector<std::string>{"a", "b"}, kEnds, {.resamples = 50});
  ASSERT_EQ(health.by_position.size(), 3U);
  EXPECT_EQ(health.by_position[0].tokens, 10);
  EXPECT_DOUBLE_EQ(health.by_position[0].kl_nats.value, (6 * 1.0 + 4 * 2.0) / 10);
  EXPECT_EQ(health.by_position[1].tokens, 14);
  EXPECT_DOUBLE_EQ(health.by_position[1].kl_nats.value, (2 * 3.0 + 12 * 2.0) / 14);
  EXPECT_DOUBLE_EQ(health.by_position[2].kl_nats.value, 5.0);
  ASSERT_EQ(health.by_source.size(), 2U);
  EXPECT_EQ(health.by_source[0].name, "a");
  EXPECT_DOUBLE_EQ(health.by_source[0].kl_nats.value, 12.0 / 8);
}

TEST(Health, CalibrationComparesSureness) {
  std::vector<std::vector<TokenComparison>> tokens(1);
  const auto add = [&](float confidence, float teacher) {
    TokenComparison one = token(static_cast<std::uint32_t>(tokens[0].size()), 1, 0);
    one.model_top_probability = confidence;
    one.teacher_of_model_top = teacher;
    tokens[0].push_back(one);
  };
  add(0.95F, 0.5F);
  add(0.85F, 0.85F);
  add(0.25F, 0.35F);
  add(1.0F, 1.0F);  // the last bin is closed
  const Health health = measure_health(tokens, std::vector<std::string>{"a"}, kEnds, {.resamples = 50});
  EXPECT_EQ(health.calibration[9].tokens, 2);
  EXPECT_NEAR(health.calibration[9].confidence, 0.975, 1e-6);
  EXPECT_NEAR(health.calibration[9].teacher, 0.75, 1e-6);
  EXPECT_NEAR(health.calibration_error, (2 * 0.225 + 0.1) / 4, 1e-6);
}

TEST(Health, EndsWhereTheTeacherEnded) {
  std::vector<std::vector<TokenComparison>> tokens(1);
  TokenComparison goes_on = token(4, 1, 0), ends = token(5, kEnd, 0);
  goes_on.teacher_end = 0.01F, goes_on.model_end = 0.2F;
  ends.teacher_end = 0.9F, ends.model_end = 0.4F;
  tokens[0] = {goes_on, ends};
  const Health health = measure_health(tokens, std::vector<std::string>{"a"}, kEnds, {.resamples = 50});
  EXPECT_NEAR(health.model_end_elsewhere, 0.2, 1e-6);
  EXPECT_NEAR(health.teacher_end_at_end, 0.9, 1e-6);
  EXPECT_NEAR(health.model_end_at_end, 0.4, 1e-6);
  EXPECT_THAT(warnings(health), ElementsAre(HasSubstr("end answers early: 20.0 %")));
}

TEST(Health, OwnAnswersThatAreEmptyOrCopied) {
  std::vector<TokenId> prompt;
  for (TokenId i = 0; i < 40; ++i) prompt.push_back(100 + i);
  const std::vector<std::vector<TokenId>> prompts(4, prompt);
  std::vector<TokenCompletion> answers(4);
  answers[0] = {{kEnd}, FinishReason::kEnd};
  answers[1] = {{prompt.begin() + 7, prompt.begin() + 7 + kCopiedTokens}, FinishReason::kLength};
  answers[2] = {{prompt.begin() + 7, prompt.begin() + 6 + kCopiedTokens}, FinishReason::kLength};  // one short
  answers[3] = {{1, 2, 1, 2, 1}, FinishReason::kLength};
  const AnswerHealth health = measure_answers(prompts, answers);
  EXPECT_DOUBLE_EQ(health.empty, 0.25);
  EXPECT_DOUBLE_EQ(health.copied, 0.25);
  EXPECT_DOUBLE_EQ(health.distinct_bigrams, (11.0 + 2) / (11 + 10 + 4));
  Health whole;
  whole.model_answers = health;
  EXPECT_THAT(warnings(whole), ElementsAre(HasSubstr("empties: 25 %"), HasSubstr("copies: 25 %")));
}

// The figures of a token against the plain formulae.
TEST(Health, ATokensFiguresAreThoseOfItsRows) {
  constexpr std::size_t kVocabulary = 11;
  ScriptedScorer teacher(kVocabulary, random_rows(kVocabulary, 1));
  ScriptedScorer model(kVocabulary, random_rows(kVocabulary, 2));
  HeldOutExample example;
  example.ids = {1, 2, 3};
  example.scored = {0, 0, 1};
  SilentProgress progress;
  const ComparedModel compared[] = {{"model", &model}};
  const std::vector<TokenId> ends = {4, 5};
  const auto result = compare(teacher, compared, std::vector{example}, {.threads = 1, .end_ids = ends}, progress, {});
  ASSERT_TRUE(result);
  const TokenComparison& found = result->models[0].tokens[0][0];
  const auto softmax = [&](std::uint64_t seed) {
    const auto row = random_rows(kVocabulary, seed)(std::span(example.ids).first(2), 1);
    std::vector<double> p;
    double sum = 0;
    for (const float logit : row) sum += std::exp(static_cast<double>(logit));
    for (const float logit : row) p.push_back(std::exp(static_cast<double>(logit)) / sum);
    return p;
  };
  const auto p = softmax(1), q = softmax(2);
  double entropy = 0;
  for (const double value : q) entropy -= value * std::log(value);
  const auto top = static_cast<std::size_t>(std::max_element(q.begin(), q.end()) - q.begin());
  EXPECT_NEAR(found.model_entropy, entropy, 1e-6);
  EXPECT_NEAR(found.teacher_of_model_top, p[top], 1e-6);
  EXPECT_NEAR(found.teacher_end, p[4] + p[5], 1e-6);
  EXPECT_NEAR(found.model_end, q[4] + q[5], 1e-6);
}

}  // namespace
}  // namespace retort::evaluate
