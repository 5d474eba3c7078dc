#include "evaluate/generation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace retort::evaluate {
namespace {

using testing::HasSubstr;

// Answers by the first id of the prompt: 1 ends at once, 2 ends after three tokens, 3 loops, 4 is cut without a loop.
class ScriptedGenerator final : public TokenGenerator {
 public:
  Result<void> generate(GenerationJob& job, std::stop_token) override {
    std::vector<TokenRequest> requests;
    while (auto request = job.next()) requests.push_back(*request);
    // Answers come back in any order.
    for (auto request = requests.rbegin(); request != requests.rend(); ++request) {
      seeds.insert(request->sampling.seed);
      TokenCompletion completion;
      const TokenId kind = request->prompt_ids.front();
      const auto length = static_cast<std::size_t>(request->sampling.max_tokens);
      if (kind == 1) completion = {{9}, FinishReason::kEnd};
      if (kind == 2) completion = {{5, 6, 7, 9}, FinishReason::kEnd};
      if (kind >= 3) {
        for (std::size_t i = 0; i < length; ++i) {
          completion.ids.push_back(static_cast<TokenId>(kind == 3 ? i % 4 : i));
        }
        completion.finish_reason = FinishReason::kLength;
      }
      RETORT_TRY(job.finished(request->tag, completion));
    }
    return {};
  }
  std::size_t context_tokens() const override { return 64; }
  std::set<std::uint64_t> seeds;
};

TEST(Generation, CountsLengthEndsAndLoops) {
  ScriptedGenerator generator;
  const std::vector<std::vector<TokenId>> prompts = {{1}, {2}, {3}, {4}};
  const std::vector<TokenId> end = {9};
  SilentProgress progress;
  SamplingOptions sampling;
  sampling.max_tokens = 40;
  const auto result = measure_generation(generator, prompts, end, sampling, {}, progress, {});
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_DOUBLE_EQ(result->tokens.value, (0 + 3 + 40 + 40) / 4.0);
  EXPECT_DOUBLE_EQ(result->ended_by_itself.value, 0.5);
  EXPECT_DOUBLE_EQ(result->repetition.value, 0.25);
  EXPECT_EQ(result->answers[1].ids.size(), 4U);
  EXPECT_EQ(generator.seeds.size(), 4U);  // each prompt its own randomness

  ModelScore score;
  set_generation(score, *result);
  EXPECT_DOUBLE_EQ(score.ended_by_itself->value, 0.5);
}

TEST(Generation, RefusesAPromptThatFillsTheContext) {
  ScriptedGenerator generator;
  const std::vector<std::vector<TokenId>> prompts = {{1}, std::vector<TokenId>(64, 1)};
  SilentProgress progress;
  const auto result = measure_generation(generator, prompts, {}, {}, {}, progress, {});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().fault, Fault::kCaller);
  EXPECT_THAT(result.error().message, HasSubstr("Prompt 2 has 64 tokens"));
}

}  // namespace
}  // namespace retort::evaluate
