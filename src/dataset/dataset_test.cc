#include "dataset/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/files.h"
#include "base/random.h"
#include "dataset/exchange_for_test.h"

namespace retort::dataset {
namespace {

using testing::HasSubstr;

// `count` exchanges over `prompts` prompts.
Curation curation(int count, int prompts) {
  Curation made;
  for (int i = 0; i < count; ++i) {
    made.kept.push_back(sha256("exchange " + std::to_string(i)));
    made.prompt_groups.push_back(sha256("prompt " + std::to_string(i % prompts)));
  }
  return made;
}

class DatasetTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "retort-dataset-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

TEST(Split, HoldsOutExactlyAsManyAndKeepsOrder) {
  const Curation made = curation(100, 100);
  const Dataset dataset = split(made, 30, 1).value();
  EXPECT_EQ(dataset.held_out.size(), 30U);
  EXPECT_EQ(dataset.train.size(), 70U);
  const auto rank = [&](const Digest& id) { return std::ranges::find(made.kept, id) - made.kept.begin(); };
  EXPECT_TRUE(std::ranges::is_sorted(dataset.train, {}, rank));
  EXPECT_TRUE(std::ranges::is_sorted(dataset.held_out, {}, rank));
}

TEST(Split, NeverPutsAPromptOnBothSides) {
  Random random(7);
  for (int round = 0; round < 200; ++round) {
    Curation made;
    const auto count = 2 + random.below(60);
    const auto prompts = 1 + random.below(40);
    std::map<Digest, Digest> group_of;
    for (std::uint64_t i = 0; i < count; ++i) {
      made.kept.push_back(sha256(std::to_string(round) + "/" + std::to_string(i)));
      made.prompt_groups.push_back(sha256("p" + std::to_string(random.below(prompts))));
      group_of[made.kept.back()] = made.prompt_groups.back();
    }
    const auto held_out = static_cast<std::int64_t>(random.below(count));
    const auto dataset = split(made, held_out, random.next());
    if (!dataset) continue;  // one prompt only
    EXPECT_LE(dataset->held_out.size(), static_cast<std::size_t>(held_out));
    EXPECT_EQ(dataset->held_out.size() + dataset->train.size(), count);
    std::set<Digest> train_groups;
    for (const Digest& id : dataset->train) train_groups.insert(group_of[id]);
    for (const Digest& id : dataset->held_out) EXPECT_FALSE(train_groups.contains(group_of[id]));
  }
}

TEST(Split, DependsOnTheSeedAndNotOnTheOrder) {
  Curation made = curation(200, 200);
  const Dataset one = split(made, 50, 1).value();
  EXPECT_EQ(split(made, 50, 1)->held_out, one.held_out);
  EXPECT_NE(split(made, 50, 2)->held_out, one.held_out);
  std::ranges::reverse(made.kept);
  std::ranges::reverse(made.prompt_groups);
  std::vector<Digest> reversed = split(made, 50, 1)->held_out;
  std::ranges::reverse(reversed);
  EXPECT_EQ(reversed, one.held_out);
  // Ten more exchanges change few of those held out.
  const std::vector<Digest> grown = split(curation(210, 210), 50, 1)->held_out;
  const auto common = std::ranges::count_if(
      grown, [&](const Digest& id) { return std::ranges::find(one.held_out, id) != one.held_out.end(); });
  EXPECT_GE(common, 40);
  // Golden: a change of the rule would silently move prompts across the split of every existing run.
  EXPECT_EQ(dataset_digest(one).hex(), "b983adf1075b5046d13766d9cd9118bae03dbce9aea804cb93f66f8f2e81cf91");
}

TEST(Split, SaysWhenNothingWouldBeLeft) {
  const auto all = split(curation(100, 100), 100, 1);
  ASSERT_FALSE(all);
  EXPECT_EQ(all.error().fault, Fault::kCaller);
  EXPECT_THAT(all.error().message, HasSubstr("evaluate.held_out is 100, but only 100 exchanges are left"));
  EXPECT_EQ(split(curation(100, 100), 99, 1)->train.size(), 1U);
  EXPECT_TRUE(split(curation(5, 5), 0, 1)->held_out.empty());
  EXPECT_THAT(split(curation(10, 1), 5, 1).error().message, HasSubstr("Nothing can be held out"));
}

TEST_F(DatasetTest, SavesAndLoads) {
  Dataset dataset = split(curation(20, 20), 5, 3).value();
  dataset.choices = {{"curate", {{"min_tokens", 4}}}};
  const auto path = folder_ / "dataset.json";
  EXPECT_EQ(save(dataset, path).value(), dataset_digest(dataset));
  const auto back = load(path);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->train, dataset.train);
  EXPECT_EQ(back->held_out, dataset.held_out);
  EXPECT_EQ(back->seed, 3U);
  EXPECT_EQ(dataset_digest(*back), dataset_digest(dataset));
}

TEST_F(DatasetTest, RefusesDamagedAndNewerFiles) {
  const Dataset dataset = split(curation(20, 20), 5, 3).value();
  const auto path = folder_ / "dataset.json";
  ASSERT_TRUE(save(dataset, path));
  const std::string good = read_file(path).value();
  const auto error_of = [&](const std::string& text) {
    EXPECT_TRUE(write_file(path, text));
    const auto loaded = load(path);
    EXPECT_FALSE(loaded);
    return loaded ? std::string("accepted") : loaded.error().message;
  };
  std::string moved = good;
  moved.replace(moved.find("\"seed\":3"), 8, "\"seed\":4");
  EXPECT_THAT(error_of(moved), HasSubstr("is damaged: its content has another digest"));
  std::string newer = good;
  newer.replace(newer.find("\"version\":1"), 11, "\"version\":2");
  EXPECT_THAT(error_of(newer), HasSubstr("is of format version 2; this program reads version 1"));
  EXPECT_THAT(error_of(good.substr(0, good.size() / 2)), HasSubstr("is not valid JSON"));
  EXPECT_THAT(error_of("[]"), HasSubstr("is no JSON object"));
  EXPECT_THAT(error_of("{}"), HasSubstr("'version' is missing"));
  Dataset doubled = dataset;
  doubled.train.push_back(doubled.held_out.front());
  ASSERT_TRUE(save(doubled, path));
  EXPECT_THAT(load(path).error().message, HasSubstr("twice"));
}

TEST(CommonSampling, IsThatOfAllOrNone) {
  std::vector<Exchange> exchanges = {make_exchange({}), make_exchange({})};
  exchanges[0].provenance.sampling->seed = 5;
  exchanges[1].provenance.sampling->seed = 6;
  ASSERT_TRUE(common_sampling(exchanges));
  EXPECT_EQ(common_sampling(exchanges)->temperature, 0.8);
  exchanges[1].provenance.sampling->temperature = 1;
  EXPECT_FALSE(common_sampling(exchanges));
  exchanges[1].provenance.sampling.reset();
  EXPECT_FALSE(common_sampling(exchanges));
  EXPECT_FALSE(common_sampling({}));
}

}  // namespace
}  // namespace retort::dataset
