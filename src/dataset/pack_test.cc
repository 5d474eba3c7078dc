#include "dataset/pack.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/digest.h"
#include "base/random.h"

namespace retort::dataset {
namespace {

// Ids first, first + 1, …; everything but the first `prompt` of them is a target.
Example example(std::size_t length, TokenId first, std::size_t prompt = 1) {
  Example made;
  for (std::size_t i = 0; i < length; ++i) {
    made.ids.push_back(first + static_cast<TokenId>(i));
    made.supervised.push_back(i >= prompt ? 1 : 0);
  }
  return made;
}

std::vector<Example> random_examples(std::size_t count, std::size_t longest, std::uint64_t seed) {
  Random random(seed);
  std::vector<Example> examples;
  for (std::size_t i = 0; i < count; ++i) {
    Example made;
    const std::size_t length = 1 + random.below(longest);
    for (std::size_t k = 0; k < length; ++k) {
      made.ids.push_back(static_cast<TokenId>(random.below(1000)));
      made.supervised.push_back(k > 0 && random.below(3) > 0 ? 1 : 0);
    }
    examples.push_back(std::move(made));
  }
  return examples;
}

TEST(Pack, LaysOneRowOutAsDocumented) {
  const std::vector<Example> examples = {example(3, 10), example(4, 20, 2)};
  const Packing packing = pack(examples, {.max_length = 9});
  ASSERT_EQ(packing.rows.size(), 1U);
  const PackedRow& row = packing.rows[0];
  EXPECT_EQ(row.ids, (std::vector<TokenId>{20, 21, 22, 23, 10, 11, 12, 0, 0}));
  EXPECT_EQ(row.positions, (std::vector<std::int32_t>{0, 1, 2, 3, 0, 1, 2, 0, 0}));
  EXPECT_EQ(row.document, (std::vector<std::int32_t>{0, 0, 0, 0, 1, 1, 1, -1, -1}));
  // 21 is in the prompt; nothing is predicted across the seam (23 -> 10) or into the padding.
  EXPECT_EQ(row.labels, (std::vector<TokenId>{-1, 22, 23, -1, 11, 12, -1, -1, -1}));
  EXPECT_EQ(row.examples, (std::vector<std::uint32_t>{1, 0}));
  EXPECT_EQ(row.used, 7);
  EXPECT_EQ(row.targets, 4);
  EXPECT_EQ(packing.tokens, 7);
  EXPECT_EQ(packing.targets, 4);
}

TEST(Pack, CutsWhatIsLongerThanARowAndCountsIt) {
  const std::vector<Example> examples = {example(10, 10), example(4, 50)};
  const Packing packing = pack(examples, {.max_length = 6});
  EXPECT_EQ(packing.rows.size(), 2U);
  EXPECT_EQ(packing.cut_examples, 1);
  EXPECT_EQ(packing.cut_tokens, 4);
  EXPECT_EQ(packing.tokens, 10);
  EXPECT_EQ(packing.targets, 5 + 3);  // the cut's last token predicts nothing
}

TEST(Pack, LeavesOutWhatTeachesNothing) {
  const std::vector<Example> examples = {example(1, 10), example(5, 20, 5), example(8, 30, 6), {}, example(3, 40)};
  // The third one's targets lie behind the cut.
  const Packing packing = pack(examples, {.max_length = 6});
  EXPECT_EQ(packing.targetless_examples, 4);
  ASSERT_EQ(packing.rows.size(), 1U);
  EXPECT_EQ(packing.rows[0].examples, (std::vector<std::uint32_t>{4}));
  EXPECT_EQ(packing.cut_examples, 0);
  EXPECT_TRUE(pack({}, {.max_length = 6}).rows.empty());
}

// What must hold for any examples and any row length.
TEST(Pack, KeepsItsPromises) {
  for (std::uint64_t round = 0; round < 60; ++round) {
    const std::vector<Example> examples = random_examples(1 + round * 3, 60, round);
    const std::size_t max_length = 2 + round % 50;
    const Packing packing = pack(examples, {.max_length = max_length, .seed = round, .epoch = round % 3});
    std::map<std::uint32_t, int> placed;
    std::int64_t targets = 0;
    for (const PackedRow& row : packing.rows) {
      ASSERT_EQ(row.ids.size(), max_length);
      ASSERT_EQ(row.positions.size(), max_length);
      ASSERT_EQ(row.document.size(), max_length);
      ASSERT_EQ(row.labels.size(), max_length);
      ASSERT_GT(row.used, 0);
      std::size_t t = 0;
      for (std::size_t document = 0; document < row.examples.size(); ++document) {
        const Example& from = examples[row.examples[document]];
        ++placed[row.examples[document]];
        const std::size_t length = std::min(from.ids.size(), max_length);
        for (std::size_t i = 0; i < length; ++i, ++t) {
          ASSERT_EQ(row.ids[t], from.ids[i]);
          ASSERT_EQ(row.positions[t], static_cast<std::int32_t>(i));
          ASSERT_EQ(row.document[t], static_cast<std::int32_t>(document));
          const bool predicts = i + 1 < length && from.supervised[i + 1] != 0;
          ASSERT_EQ(row.labels[t], predicts ? from.ids[i + 1] : kNoLabel);
          targets += predicts ? 1 : 0;
        }
      }
      ASSERT_EQ(static_cast<std::size_t>(row.used), t);
      for (; t < max_length; ++t) {
        ASSERT_EQ(row.document[t], kNoDocument);
        ASSERT_EQ(row.labels[t], kNoLabel);
      }
    }
    EXPECT_EQ(targets, packing.targets);
    // Every example once, or counted as left out.
    for (const auto& [index, times] : placed) EXPECT_EQ(times, 1);
    EXPECT_EQ(static_cast<std::int64_t>(placed.size()) + packing.targetless_examples,
              static_cast<std::int64_t>(examples.size()));
  }
}

TEST(Pack, OrderDependsOnSeedAndEpochOnly) {
  const std::vector<Example> examples = random_examples(200, 100, 1);
  const auto order = [&](std::uint64_t seed, std::uint64_t epoch) {
    std::string text;
    for (const PackedRow& row : pack(examples, {.max_length = 128, .seed = seed, .epoch = epoch}).rows) {
      for (const std::uint32_t i : row.examples) text += std::to_string(i) + " ";
      text += "\n";
    }
    return sha256(text).hex();
  };
  EXPECT_EQ(order(1, 0), order(1, 0));
  EXPECT_NE(order(1, 0), order(1, 1));
  EXPECT_NE(order(1, 0), order(2, 0));
  // Golden: "same seed, same losses" holds between versions as well.
  EXPECT_EQ(order(1, 0), "5300c10e0c27261d1fee8117e23437e3a9c2ee585029b0a1f069ec439dbdf594");
}

TEST(Pack, FillsItsRows) {
  // Lengths as the quickstart's: 60 to 250 tokens in rows of 256.
  Random random(3);
  std::vector<Example> examples;
  for (int i = 0; i < 500; ++i) examples.push_back(example(60 + random.below(190), 0));
  EXPECT_GT(pack(examples, {.max_length = 256}).fill(), 0.93);
  EXPECT_GT(pack(examples, {.max_length = 512}).fill(), 0.97);
}

}  // namespace
}  // namespace retort::dataset
