#include "collect/prompt_intake.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <set>

#include "base/files.h"
#include "collect/slot_plan.h"
#include "recipe/recipe.h"

namespace retort::collect {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class PromptIntakeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) / ("retort_intake_" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void use(const std::string& name, std::string_view text) {
    ASSERT_TRUE(write_file(folder_ / name, text));
    options_.prompts = PromptSource{};
    options_.prompts.file = (folder_ / name).string();
  }
  std::vector<std::string> texts() {
    auto taken = take_prompts(options_);
    EXPECT_TRUE(taken) << (taken ? "" : taken.error().message);
    if (!taken) return {};
    intake_ = taken->intake;
    std::vector<std::string> all;
    for (const PromptRow& row : taken->rows)
      all.push_back(row.prompt.messages.back().content + "|" + row.answer.value_or("-"));
    return all;
  }
  std::string refused() {
    const auto taken = take_prompts(options_);
    return taken ? "accepted" : taken.error().message;
  }

  std::filesystem::path folder_;
  CollectOptions options_;
  PromptIntake intake_;
};

TEST_F(PromptIntakeTest, PersonalDataIsMaskedDroppedOrKeptAndAlwaysCounted) {
  use("p.jsonl",
      "{\"prompt\": \"plain\"}\n{\"prompt\": \"I am a@example.com\", \"completion\": \"Hi a@example.com\"}\n");
  EXPECT_THAT(texts(), ElementsAre("plain|-", "I am [EMAIL]|Hi [EMAIL]"));
  EXPECT_EQ(intake_.personal_data.of(PersonalKind::kEmail), 2);
  EXPECT_EQ(intake_.rows_with_personal_data, 1);
  const auto as_masked = intake_.altered;
  EXPECT_TRUE(as_masked);
  options_.personal_data = "drop";
  EXPECT_THAT(texts(), ElementsAre("plain|-"));
  EXPECT_EQ(intake_.rows_dropped, 1);
  EXPECT_EQ(intake_.file.rows, 1);
  EXPECT_TRUE(intake_.altered && intake_.altered != as_masked);
  options_.personal_data = "keep";
  EXPECT_THAT(texts(), ElementsAre("plain|-", "I am a@example.com|Hi a@example.com"));
  EXPECT_EQ(intake_.personal_data.total(), 2);
  EXPECT_FALSE(intake_.altered);

  options_.personal_data = "drop";
  use("all.txt", "a@example.com\n");
  EXPECT_THAT(refused(), HasSubstr("every row has personal data"));
  use("none.txt", "plain\n");
  EXPECT_THAT(texts(), ElementsAre("plain|-"));
  EXPECT_FALSE(intake_.altered) << "such a collection is what it was";
}

TEST_F(PromptIntakeTest, BrokenRowsAreRefusedOrCounted) {
  std::string text;
  for (int i = 1; i <= 40000; ++i) text += i == 31415 ? "{\"prompt\": a@example.com}\n" : "{\"prompt\": \"q\"}\n";
  use("p.jsonl", text + "[1]\n");
  EXPECT_THAT(refused(), AllOf(HasSubstr("p.jsonl, line 31415: "), HasSubstr("not valid JSON"),
                               HasSubstr("skip_broken: true"), Not(HasSubstr("example.com"))));
  options_.prompts.skip_broken = true;
  EXPECT_EQ(texts().size(), 39999U);
  EXPECT_EQ(intake_.file.skipped, 2);
  ASSERT_EQ(intake_.file.first_skipped.size(), 2U);
  EXPECT_EQ(intake_.file.first_skipped[0].line, 31415U);
  EXPECT_THAT(intake_.file.first_skipped[1].why, HasSubstr("an array"));
  EXPECT_TRUE(intake_.altered);

  use("broken.jsonl", "{\n{\n");
  options_.prompts.skip_broken = true;
  EXPECT_THAT(refused(), AllOf(HasSubstr("none of its 2 rows"), HasSubstr("line 1")));
}

TEST_F(PromptIntakeTest, AColumnIsChosenByName) {
  use("p.csv", "id,question,system\n1,\"Who,\nwhere?\",\n2,\"When?\",Be brief.\n");
  EXPECT_THAT(refused(), AllOf(HasSubstr("no column 'prompt'"), HasSubstr("'id', 'question', 'system'")));
  options_.prompts.column = "qestion";
  EXPECT_THAT(refused(), HasSubstr("did you mean 'question'?"));
  options_.prompts.column = "question";
  EXPECT_THAT(texts(), ElementsAre("Who,\nwhere?|-", "When?|-"));
  EXPECT_TRUE(intake_.altered) << "another column asks other things";
  options_.prompts.format = "lines";
  EXPECT_THAT(refused(), HasSubstr("set its format to csv or tsv"));
}

TEST_F(PromptIntakeTest, TheSystemMessageOfTheRecipeGoesBeforeRowsWithoutOne) {
  use("p.jsonl", "{\"prompt\": \"a\"}\n{\"prompt\": \"b\", \"system\": \"Own.\"}\n");
  options_.system = "Given.";
  const auto taken = take_prompts(options_);
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->rows[0].prompt.messages[0].content, "Given.");
  EXPECT_EQ(taken->rows[1].prompt.messages[0].content, "Own.");
}

TEST(SlotPlanTest, NumbersSamplesOfRowsAndCapsThem) {
  CollectOptions options;
  options.count = 0;
  options.samples_per_prompt = 3;
  const SlotPlan plan(options, 4);
  EXPECT_EQ(plan.slots(), 12);
  EXPECT_EQ(plan.row_of(7), 2);
  EXPECT_EQ(plan.sample_of(7), 1);
  EXPECT_EQ(plan.slots_of(2).front(), 6);
  EXPECT_EQ(plan.slots_of(2).size(), 3U);
  EXPECT_EQ(plan.slots_of(2, true).size(), 1U) << "an answer of its own fills one slot";
  std::set<std::uint64_t> seeds;
  for (std::int64_t slot = 0; slot < plan.slots(); ++slot) seeds.insert(plan.answer_seed(slot));
  EXPECT_EQ(seeds.size(), 12U);

  options.count = 7;
  const SlotPlan capped(options, 4);
  EXPECT_EQ(capped.slots(), 7);
  EXPECT_EQ(capped.rows(), 3);
  EXPECT_EQ(capped.slots_of(2).size(), 1U);
  EXPECT_EQ(capped.slots_of(3).size(), 0U);
}

// What collections of one sample a prompt were asked with before there were several.
TEST(SlotPlanTest, SeedsOfASingleSampleAreTheRows) {
  CollectOptions options;
  options.count = 0;
  options.seed = 5;
  const SlotPlan plan(options, 3);
  EXPECT_EQ(plan.answer_seed(2), derive_seed(derive_seed(5, "collect", 2), "answer"));
  EXPECT_EQ(plan.row_of(2), 2);
}

TEST(PromptSourceTest, IsAWordOrAMap) {
  auto schema = std::make_shared<recipe::Schema>();
  schema->add(collect_option_set());
  const auto load = [&](const std::string& yaml, std::vector<std::string> set = {}) {
    return recipe::Recipe::parse(yaml, "r.yaml", schema, set);
  };
  EXPECT_TRUE(load("")->get(collect_option_set()).self_generated());
  EXPECT_TRUE(load("collect: {prompts: self_generated}")->get(collect_option_set()).self_generated());
  const auto csv = load("collect: {prompts: {file: a.csv, format: csv, column: q, skip_broken: true}}");
  ASSERT_TRUE(csv) << csv.error().message;
  const PromptSource source = csv->get(collect_option_set()).prompts;
  EXPECT_EQ(source.column, "q");
  EXPECT_TRUE(source.skip_broken);
  EXPECT_THAT(csv->effective_yaml(), HasSubstr("prompts: {file: a.csv, format: csv, column: q, skip_broken: true}"));
  EXPECT_THAT(load("collect: {prompts: {file: a.txt}}")->effective_yaml(),
              HasSubstr("prompts: {file: a.txt, format: auto}"));
  const auto set = load("", {"collect.prompts.file=b.jsonl", "collect.prompts.skip_broken=true"});
  ASSERT_TRUE(set) << set.error().message;
  EXPECT_EQ(set->get(collect_option_set()).prompts.file, "b.jsonl");
  EXPECT_THAT(load("collect: {prompts: selfgenerated}").error().message,
              HasSubstr("expected self_generated, or {file: text"));
  EXPECT_THAT(load("collect: {prompts: {format: lines}}").error().message, HasSubstr("'file' is missing"));
  EXPECT_THAT(load("collect: {prompts: {file: a, format: xml}}").error().message, HasSubstr("sharegpt"));
  EXPECT_THAT(load("collect: {prompts: {file: a, colum: b}}").error().message, HasSubstr("did you mean 'column'?"));
}

}  // namespace
}  // namespace retort::collect
