#include "exporter/duties.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "exporter/lineage.h"

namespace retort::exporter {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Json decision_of(const std::string& model, bool distributed = true,
                 terms::Relation relation = terms::Relation::kWeights) {
  terms::Query query;
  query.model = model;
  query.distributed = distributed;
  query.relation = relation;
  return terms::to_json(terms::decide(query));
}

std::string sentences(const std::vector<CarriedDuty>& duties, DutyState state) {
  std::string all;
  for (const CarriedDuty& duty : duties) {
    if (duty.state == state) all += std::string(terms::name_of(duty.kind)) + ": " + duty.sentence + "\n";
  }
  return all;
}

TEST(DutiesTest, ADistributedStudentOfLlamaIsCalledSo) {
  const Json decision = decision_of("meta-llama/Llama-3.1-8B");
  EXPECT_EQ(shipped_name(decision, "toy"), "Llama-toy");
  EXPECT_EQ(shipped_name(decision, "llama-toy"), "Llama-toy");
  EXPECT_EQ(shipped_name(decision, "Llama-toy"), "Llama-toy");
  const Json llama3 = decision_of("meta-llama/Meta-Llama-3-8B");
  EXPECT_EQ(shipped_name(llama3, "toy"), "Llama 3 toy");
  EXPECT_EQ(shipped_name(llama3, "llama-3-toy"), "Llama 3-toy");
  EXPECT_EQ(file_stem("Llama 3 toy"), "Llama-3-toy");
  EXPECT_EQ(shipped_name(decision_of("meta-llama/Llama-3.1-8B", false), "toy"), "toy") << "it stays in the house";
  EXPECT_EQ(shipped_name(decision_of("Qwen/Qwen3-8B"), "toy"), "toy");
  EXPECT_EQ(shipped_name(Json::object(), "toy"), "toy");
}

TEST(DutiesTest, WhatIsDoneAndWhatIsLeftIsSaid) {
  const Json decision = decision_of("meta-llama/Llama-3.1-8B");
  const auto duties = carry_out(decision, "Llama-toy");
  const std::string done = sentences(duties, DutyState::kDone);
  const std::string left = sentences(duties, DutyState::kLeft);
  EXPECT_THAT(done, HasSubstr("name_prefix: The model is called 'Llama-toy'."));
  EXPECT_THAT(done, HasSubstr("display: The model card shows 'Built with Llama'."));
  EXPECT_THAT(done, HasSubstr("notice: NOTICE says what is asked"));
  EXPECT_THAT(left, HasSubstr("notice: The text of the Llama 3.1 Community License"));
  EXPECT_THAT(left, HasSubstr("display: Show 'Built with Llama' when"));
  EXPECT_THAT(left, HasSubstr("mau_limit: Ask the licensor before the product has more than 700,000,000"));
  EXPECT_THAT(display_lines(decision), ::testing::ElementsAre("Built with Llama"));
  EXPECT_THAT(duties_text(duties), HasSubstr("3 done, 3 left to a person"));
  // A name that isn't what is asked is not called done.
  EXPECT_THAT(sentences(carry_out(decision, "toy"), DutyState::kLeft), HasSubstr("name_prefix"));
  const auto again = duties_from_json(to_json(duties));
  ASSERT_EQ(again.size(), duties.size());
  EXPECT_EQ(sentences(again, DutyState::kLeft), left);
}

TEST(DutiesTest, PassingOnIsLeftToAPerson) {
  const auto duties = carry_out(decision_of("google/gemma-3-4b-it"), "toy");
  EXPECT_THAT(sentences(duties, DutyState::kLeft), HasSubstr("pass_through: Make it part of the terms"));
  EXPECT_TRUE(carry_out(decision_of("deepseek-chat", true, terms::Relation::kOutputs), "toy").empty());
}

TEST(DutiesTest, TheNoticeFilesSayWhatMustBeKeptAndWhatIsMissing) {
  Lineage lineage;
  lineage.name = "toy";
  lineage.teacher.name = "Some teacher";
  lineage.terms = decision_of("meta-llama/Llama-3.1-8B");
  auto files = notice_files(lineage);
  ASSERT_EQ(files.size(), 1U);
  EXPECT_EQ(files[0].name, "NOTICE");
  EXPECT_THAT(files[0].text, HasSubstr("Some teacher"));
  EXPECT_THAT(files[0].text, HasSubstr("to be added by hand"));
  EXPECT_THAT(files[0].text, HasSubstr("models/llama3_1/LICENSE"));
  EXPECT_THAT(files[0].text, HasSubstr("- LICENSE-llama3.1, beside this file"));
  EXPECT_THAT(sentences(carry_out(lineage.terms, "Llama-toy"), DutyState::kLeft),
              HasSubstr("isn't in this program: put it and its notices into LICENSE-llama3.1 beside NOTICE."));

  lineage.terms = decision_of("Qwen/Qwen3-8B");
  files = notice_files(lineage);
  ASSERT_EQ(files.size(), 2U);
  EXPECT_THAT(files[0].text, Not(HasSubstr("to be added by hand")));
  EXPECT_EQ(files[1].name, "LICENSE-Apache-2.0");
  EXPECT_THAT(files[1].text, HasSubstr("TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION"));
  EXPECT_THAT(files[1].text, HasSubstr("9. Accepting Warranty"));
  EXPECT_GT(files[1].text.size(), 11'000U);

  lineage.terms = decision_of("deepseek-ai/DeepSeek-R1");
  files = notice_files(lineage);
  ASSERT_EQ(files.size(), 2U);
  EXPECT_THAT(files[0].text, Not(HasSubstr("to be added by hand")));
  EXPECT_EQ(files[1].name, "LICENSE-MIT");
  EXPECT_THAT(files[1].text, HasSubstr("Copyright (c) the makers of Some teacher"));
  EXPECT_THAT(files[1].text, HasSubstr("The above copyright notice and this permission notice shall be included"));
  const auto duties = carry_out(lineage.terms, "toy");
  EXPECT_THAT(sentences(duties, DutyState::kDone), HasSubstr("LICENSE-MIT"));
  EXPECT_THAT(sentences(duties, DutyState::kLeft), HasSubstr("copyright line of the teacher's own LICENSE file"));

  lineage.terms = decision_of("deepseek-chat", true, terms::Relation::kOutputs);
  EXPECT_TRUE(notice_files(lineage).empty());
}

}  // namespace
}  // namespace retort::exporter
