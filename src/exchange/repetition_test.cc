#include "exchange/repetition.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/random.h"

namespace retort {
namespace {

// `block` n times between two stretches of ids that never repeat.
std::vector<TokenId> text(const std::vector<TokenId>& block, int times) {
  std::vector<TokenId> ids;
  for (TokenId id = 1000; id < 1050; ++id) ids.push_back(id);
  for (int i = 0; i < times; ++i) ids.insert(ids.end(), block.begin(), block.end());
  for (TokenId id = 2000; id < 2050; ++id) ids.push_back(id);
  return ids;
}

TEST(Repetition, FindsLoopsOfAnyPeriod) {
  EXPECT_TRUE(measure_repetition(text({1}, 24)).is_loop);
  EXPECT_FALSE(measure_repetition(text({1}, 23)).is_loop);
  EXPECT_TRUE(measure_repetition(text({1, 2, 3, 4, 5, 6, 7, 8}, 3)).is_loop);
  EXPECT_FALSE(measure_repetition(text({1, 2, 3, 4, 5, 6, 7, 8}, 2)).is_loop);
  // Long blocks need not be repeated often to be long, but three times all the same.
  std::vector<TokenId> block;
  for (TokenId id = 0; id < 60; ++id) block.push_back(id);
  EXPECT_FALSE(measure_repetition(text(block, 2)).is_loop);
  EXPECT_TRUE(measure_repetition(text(block, 3)).is_loop);
  const Repetition found = measure_repetition(text({1, 2, 3}, 10));
  EXPECT_EQ(found.loop_tokens, 30);
  EXPECT_EQ(found.period, 3);
}

TEST(Repetition, FindsTextsThatKeepSayingTheSame) {
  // Sentences of ten tokens in changing order: no period, yet nothing new.
  std::vector<TokenId> ids;
  Random random(1);
  for (int i = 0; i < 60; ++i) {
    const auto sentence = static_cast<TokenId>(random.below(3));
    for (TokenId k = 0; k < 10; ++k) ids.push_back(sentence * 10 + k);
  }
  EXPECT_GT(measure_repetition(ids).repeated_share, 0.7);
  EXPECT_TRUE(measure_repetition(ids).is_loop);
}

TEST(Repetition, LeavesOrdinaryAndShortTextsAlone) {
  std::vector<TokenId> ids;
  Random random(2);
  for (int i = 0; i < 400; ++i) ids.push_back(static_cast<TokenId>(random.below(300)));
  EXPECT_FALSE(measure_repetition(ids).is_loop);
  EXPECT_FALSE(measure_repetition({}).is_loop);
  EXPECT_FALSE(measure_repetition(std::vector<TokenId>{5}).is_loop);
  EXPECT_FALSE(measure_repetition(std::vector<TokenId>(20, 5)).is_loop);  // repeated share 0.94, but short
}

}  // namespace
}  // namespace retort
