#include "evaluate/own_answers.h"

#include <gtest/gtest.h>

#include <cmath>

#include "evaluate/scripted_scorer_for_test.h"

namespace retort::evaluate {
namespace {

constexpr std::size_t kVocabulary = 11;

std::vector<double> log_softmax(const std::vector<float>& row) {
  double sum = 0;
  for (const float logit : row) sum += std::exp(static_cast<double>(logit));
  std::vector<double> result;
  for (const float logit : row) result.push_back(static_cast<double>(logit) - std::log(sum));
  return result;
}

TEST(OwnAnswers, AreTheFormulaeOnTheAnswersTokensAlone) {
  ScriptedScorer teacher(kVocabulary, random_rows(kVocabulary, 1));
  ScriptedScorer student(kVocabulary, random_rows(kVocabulary, 2));
  const std::vector<std::vector<TokenId>> prompts = {{1, 2, 3}, {4, 5}, {6}};
  std::vector<TokenCompletion> answers(2);  // fewer than prompts, as of an untrained cut
  answers[0].ids = {7, 8};
  answers[1].ids = {9};
  SilentProgress progress;
  const auto judged = judge_answers(teacher, &student, prompts, answers, {.resamples = 50}, progress, {});
  ASSERT_TRUE(judged);
  double teacher_nats = 0, model_nats = 0, kl = 0;
  for (std::size_t i = 0; i < 2; ++i) {
    std::vector<TokenId> ids = prompts[i];
    for (const TokenId id : answers[i].ids) {
      const auto p = log_softmax(random_rows(kVocabulary, 1)(ids, 0)),
                 q = log_softmax(random_rows(kVocabulary, 2)(ids, 0));
      teacher_nats -= p[static_cast<std::size_t>(id)];
      model_nats -= q[static_cast<std::size_t>(id)];
      for (std::size_t v = 0; v < kVocabulary; ++v) kl += std::exp(p[v]) * (p[v] - q[v]);
      ids.push_back(id);
    }
  }
  EXPECT_EQ(judged->tokens, 3);
  EXPECT_NEAR(judged->teacher_nats.value, teacher_nats / 3, 1e-9);
  EXPECT_NEAR(judged->model_nats.value, model_nats / 3, 1e-9);
  EXPECT_NEAR(judged->kl_nats.value, kl / 3, 1e-9);

  const auto itself = judge_answers(teacher, nullptr, prompts, answers, {.resamples = 50}, progress, {});
  ASSERT_TRUE(itself);
  EXPECT_NEAR(itself->model_nats.value, itself->teacher_nats.value, 1e-12);
  EXPECT_NEAR(itself->kl_nats.value, 0, 1e-12);
}

}  // namespace
}  // namespace retort::evaluate
