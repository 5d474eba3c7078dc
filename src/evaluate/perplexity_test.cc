#include "evaluate/perplexity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "evaluate/scripted_scorer_for_test.h"

namespace retort::evaluate {
namespace {

using testing::HasSubstr;

constexpr std::size_t kVocabulary = 11;

std::vector<TokenId> random_text(std::size_t length) {
  Random random(5);
  std::vector<TokenId> text;
  for (std::size_t t = 0; t < length; ++t) text.push_back(static_cast<TokenId>(random.below(kVocabulary)));
  return text;
}

// The rows of random_rows depend on two ids only, so any window that leaves two ids of context gives the same sum.
double brute_force(const std::vector<TokenId>& text) {
  double sum = 0;
  for (std::size_t t = 1; t < text.size(); ++t) {
    const auto row = random_rows(kVocabulary, 1)(std::span(text).first(t), t - 1);
    double total = 0;
    for (const float value : row) total += std::exp(static_cast<double>(value));
    sum -= static_cast<double>(row[static_cast<std::size_t>(text[t])]) - std::log(total);
  }
  return sum;
}

TEST(TextPerplexity, ScoresEveryTokenOnceWhateverTheWindows) {
  const auto text = random_text(101);
  const double expected = brute_force(text);
  for (const auto& [window, stride] :
       {std::pair{101U, 50U}, {100U, 50U}, {40U, 20U}, {40U, 38U}, {13U, 1U}, {3U, 1U}}) {
    ScriptedScorer model(kVocabulary, random_rows(kVocabulary, 1), 4);
    const auto score = score_text(model, text, {.window = window, .stride = stride, .begin = {}}, {}, {});
    ASSERT_TRUE(score) << score.error().message;
    EXPECT_EQ(score->tokens, 100) << window << " " << stride;
    EXPECT_NEAR(score->negative_log_probability, expected, 1e-9) << window << " " << stride;
    EXPECT_NEAR(score->perplexity.value, std::exp(expected / 100), 1e-9);
  }
}

TEST(TextPerplexity, TheBeginTokenPredictsTheFirst) {
  const auto text = random_text(30);
  ScriptedScorer model(kVocabulary, random_rows(kVocabulary, 1), 4);
  const auto score = score_text(model, text, {.window = 10, .stride = 5, .begin = 3}, {}, {});
  ASSERT_TRUE(score);
  EXPECT_EQ(score->tokens, 30);
}

TEST(TextPerplexity, UniformModelHasThePerplexityOfTheVocabulary) {
  ScriptedScorer model(kVocabulary, [](auto, auto) { return std::vector<float>(kVocabulary, 2.0F); });
  const auto score = score_text(model, random_text(50), {.window = 20, .stride = 10, .begin = {}}, {}, {});
  ASSERT_TRUE(score);
  EXPECT_NEAR(score->perplexity.value, static_cast<double>(kVocabulary), 1e-9);
  EXPECT_NEAR(score->perplexity.low, static_cast<double>(kVocabulary), 1e-9);
}

TEST(TextPerplexity, RefusesImpossibleInput) {
  ScriptedScorer model(kVocabulary, random_rows(kVocabulary, 1), 4, 16);
  auto score = score_text(model, random_text(1), {.window = 8, .stride = 4, .begin = {}}, {}, {});
  ASSERT_FALSE(score);
  EXPECT_THAT(score.error().message, HasSubstr("at least two"));
  score = score_text(model, random_text(9), {.window = 17, .stride = 4, .begin = {}}, {}, {});
  ASSERT_FALSE(score);
  EXPECT_THAT(score.error().message, HasSubstr("context of 16"));
  score = score_text(model, random_text(9), {.window = 8, .stride = 8, .begin = {}}, {}, {});
  ASSERT_FALSE(score);
  EXPECT_THAT(score.error().message, HasSubstr("stride"));
  const std::vector<TokenId> foreign = {1, 2, 77};
  score = score_text(model, foreign, {.window = 8, .stride = 4, .begin = {}}, {}, {});
  ASSERT_FALSE(score);
  EXPECT_THAT(score.error().message, HasSubstr("id 77"));
}

}  // namespace
}  // namespace retort::evaluate
