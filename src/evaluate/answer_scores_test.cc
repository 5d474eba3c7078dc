#include "evaluate/answer_scores.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/json.h"
#include "evaluate/scripted_scorer_for_test.h"
#include "evaluate/softmax.h"

namespace retort::evaluate {
namespace {

using testing::HasSubstr;

constexpr std::size_t kVocabulary = 7;
constexpr TokenId kEnd = 6;

// Log-probabilities of a scripted row.
std::vector<double> logs(const ScriptedScorer::Row& row, std::span<const TokenId> ids) {
  const std::vector<float> logits = row(ids, ids.size() - 1);
  const RowSummary summary = summarise_row(logits);
  std::vector<double> all;
  for (std::size_t i = 0; i < kVocabulary; ++i) all.push_back(log_probability(logits, summary, i));
  return all;
}

struct Drawn {
  HeldOutExample example;
  double log_probability = 0;  // of the answer, by who drew it
};

// An answer of `length` tokens to a prompt of two, drawn from the rows' own distribution.
Drawn draw(const ScriptedScorer::Row& row, std::uint64_t seed, std::size_t length) {
  Random random(seed);
  Drawn drawn{{{static_cast<TokenId>(seed % 5), 1}, {0, 0}}};
  for (std::size_t i = 0; i < length; ++i) {
    const std::vector<double> all = logs(row, drawn.example.ids);
    double left = random.uniform();
    std::size_t id = 0;
    while (id + 1 < kVocabulary && left >= std::exp(all[id])) left -= std::exp(all[id++]);
    drawn.example.ids.push_back(static_cast<TokenId>(id));
    drawn.example.scored.push_back(1);
    drawn.log_probability += all[id];
  }
  return drawn;
}

TEST(AnswerScores, AreThoseOfTheComparison) {
  const auto row = random_rows(kVocabulary, 3);
  ScriptedScorer teacher(kVocabulary, random_rows(kVocabulary, 1)), model(kVocabulary, row);
  std::vector<HeldOutExample> examples = {draw(row, 1, 5).example, draw(row, 2, 9).example};
  examples[0].ids = {1, 1, 2, 3, 4, 5, kEnd};
  examples[1].scored[4] = 0;
  SilentProgress silent;
  const ComparedModel compared[] = {{"model", &model}};
  const auto comparison = compare(teacher, compared, examples, {}, silent, {});
  const TokenId ends[] = {kEnd};
  const auto scores = score_answers(model, "model", examples, ends, silent, {});
  ASSERT_TRUE(comparison && scores);
  for (std::size_t e = 0; e < 2; ++e) {
    EXPECT_EQ(scores->at(e).tokens, static_cast<double>(comparison->models[0].exchanges[e].tokens));
    EXPECT_NEAR(scores->at(e).nats, comparison->models[0].exchanges[e].negative_log_probability, 1e-9);
  }
  EXPECT_EQ(scores->at(0).text_tokens, scores->at(0).tokens - 1);
  EXPECT_LT(scores->at(0).text_nats, scores->at(0).nats);
  const BootstrapOptions bootstrap{100, 0.95, 1};
  EXPECT_NEAR(answer_perplexity(*scores, bootstrap).value,
              estimate_quality(comparison->models[0].exchanges, bootstrap).perplexity.value, 1e-9);
}

TEST(AnswerScores, WhatCannotBeScoredIsRefused) {
  ScriptedScorer model(kVocabulary, random_rows(kVocabulary, 3), 3, 4);
  SilentProgress silent;
  const HeldOutExample longer[] = {{{1, 2, 3, 4, 5}, {0, 1, 1, 1, 1}}};
  EXPECT_THAT(score_answers(model, "it", longer, {}, silent, {}).error().message, HasSubstr("context of it is 4"));
  const HeldOutExample foreign[] = {{{1, 99}, {0, 1}}};
  EXPECT_THAT(score_answers(model, "it", foreign, {}, silent, {}).error().message, HasSubstr("vocabulary of it"));
  ScriptedScorer broken(kVocabulary, [](auto, auto) { return std::vector<float>(kVocabulary, std::nanf("")); });
  const HeldOutExample fine[] = {{{1, 2}, {0, 1}}};
  EXPECT_THAT(score_answers(broken, "it", fine, {}, silent, {}).error().message, HasSubstr("not finite"));
}

// From the log-probabilities of what was drawn alone, the figure that needs whole distributions.
TEST(SampledKl, IsTheKlOfTheDistributions) {
  const auto theirs = random_rows(kVocabulary, 1, 1), ours = random_rows(kVocabulary, 2, 1);
  ScriptedScorer teacher(kVocabulary, theirs), model(kVocabulary, ours);
  std::vector<HeldOutExample> examples;
  std::vector<std::optional<double>> told;
  for (std::uint64_t i = 0; i < 600; ++i) {
    Drawn drawn = draw(theirs, 100 + i, 8);
    examples.push_back(std::move(drawn.example));
    told.emplace_back(drawn.log_probability);
  }
  SilentProgress silent;
  const ComparedModel compared[] = {{"model", &model}};
  const auto comparison = compare(teacher, compared, examples, {}, silent, {});
  const auto scores = score_answers(model, "model", examples, {}, silent, {});
  ASSERT_TRUE(comparison && scores);
  const BootstrapOptions bootstrap{400, 0.99, 1};
  const double exact = estimate_quality(comparison->models[0].exchanges, bootstrap).kl_nats.value;
  const auto sampled = sampled_kl(told, *scores, bootstrap);
  ASSERT_TRUE(sampled);
  EXPECT_GT(exact, 0.3);
  EXPECT_NEAR(sampled->value, exact, 0.1 * exact);
  EXPECT_LT(sampled->low, exact);
  EXPECT_GT(sampled->high, exact);
  // An exchange of which nothing was told doesn't count.
  told.assign(told.size(), std::nullopt);
  EXPECT_FALSE(sampled_kl(told, *scores, bootstrap));
}

TEST(ToldLogProbability, OnlyOfWhatWasDrawnFromTheTeacherItself) {
  Exchange exchange;
  exchange.completion.text = "so it is";
  exchange.completion.logprobs =
      R"([{"logprob":-0.5,"token":"so"},{"logprob":-1.25,"token":" it is"},{"logprob":-3,"token":"<end>"}])";
  exchange.provenance.sampling = SamplingOptions{.temperature = 1, .top_p = 1};
  EXPECT_DOUBLE_EQ(told_log_probability(exchange).value_or(0), -1.75);
  exchange.provenance.sampling->temperature = 0.8;
  EXPECT_FALSE(told_log_probability(exchange));
  exchange.provenance.sampling->temperature = 1;
  exchange.provenance.sampling->top_p = 0.95;
  EXPECT_FALSE(told_log_probability(exchange));
  exchange.provenance.sampling->top_p = 1;
  exchange.completion.text = "so it was";
  EXPECT_FALSE(told_log_probability(exchange));
  exchange.completion.text = "so it is so";
  EXPECT_FALSE(told_log_probability(exchange));
  exchange.completion.logprobs = "";
  EXPECT_FALSE(told_log_probability(exchange));
}

}  // namespace
}  // namespace retort::evaluate
