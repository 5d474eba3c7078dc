#include "collect/prompts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace retort::collect {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string refused(std::string_view text, PromptFormat format = PromptFormat::kJsonLines) {
  const auto rows = parse_prompts(text, "p.jsonl", format);
  if (rows) return "accepted";
  EXPECT_EQ(rows.error().fault, Fault::kCaller);
  return rows.error().message;
}

TEST(PromptsTest, ReadsEveryShapeOfRow) {
  const auto rows = parse_prompts(R"({"prompt": "Hello"}

{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]}
{"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}], "other": 1}
{"prompt": "Name a colour.", "completion": "Blue."})",
                                  "p.jsonl", PromptFormat::kAuto);
  ASSERT_TRUE(rows) << rows.error().message;
  ASSERT_EQ(rows->size(), 4U);
  EXPECT_EQ((*rows)[0].prompt, (Prompt{{{Role::kUser, "Hello"}}}));
  EXPECT_EQ((*rows)[0].line, 1U);
  EXPECT_FALSE((*rows)[0].answer);
  EXPECT_EQ((*rows)[1].line, 3U) << "blank lines count as lines";
  EXPECT_EQ((*rows)[1].prompt.messages.size(), 2U);
  EXPECT_EQ((*rows)[2].answer, "4");
  EXPECT_EQ((*rows)[2].prompt.messages.size(), 1U);
  EXPECT_EQ((*rows)[3].answer, "Blue.");
}

TEST(PromptsTest, ReadsPlainLines) {
  const auto rows = parse_prompts("\xEF\xBB\xBFOne?\r\n\r\n  Two? \n", "questions.txt", PromptFormat::kAuto);
  ASSERT_TRUE(rows);
  ASSERT_EQ(rows->size(), 2U);
  EXPECT_EQ((*rows)[0].prompt.messages[0].content, "One?");
  EXPECT_EQ((*rows)[1].prompt.messages[0].content, "Two?");
  EXPECT_EQ((*rows)[1].line, 3U);
}

TEST(PromptsTest, BrokenRowsAreRefusedNamingFileAndLine) {
  const std::string good = "{\"prompt\": \"a\"}\n";
  EXPECT_THAT(refused(good + "{\"prompt\": "), HasSubstr("p.jsonl, line 2"));
  EXPECT_THAT(refused(good + good + "[1]"), AllOf(HasSubstr("line 3"), HasSubstr("object")));
  EXPECT_THAT(refused("{\"text\": \"a\"}"), AllOf(HasSubstr("line 1"), HasSubstr("neither")));
  EXPECT_THAT(refused("{\"prompt\": 5}"), HasSubstr("number"));
  EXPECT_THAT(refused("{\"messages\": []}"), HasSubstr("line 1"));
  EXPECT_THAT(refused("{\"messages\": \"a\"}"), HasSubstr("line 1"));
  EXPECT_THAT(refused("{\"messages\": [{\"role\": \"robot\", \"content\": \"a\"}]}"), HasSubstr("robot"));
  EXPECT_THAT(refused("{\"messages\": [{\"role\": \"user\"}]}"), HasSubstr("content"));
  EXPECT_THAT(refused("{\"messages\": [{\"role\": \"user\", \"content\": [1]}]}"), HasSubstr("array"));
  EXPECT_THAT(refused("{\"messages\": [{\"role\": \"user\", \"content\": \" \"}]}"), HasSubstr("empty"));
  EXPECT_THAT(refused("{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}]}"), HasSubstr("answer"));
  EXPECT_THAT(refused("{\"messages\": [{\"role\": \"system\", \"content\": \"a\"}]}"), HasSubstr("nothing to answer"));
  EXPECT_THAT(refused(R"({"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]})"),
              HasSubstr("follow each other"));
  EXPECT_THAT(refused(good + "{\"prompt\": \"\xff\"}"), AllOf(HasSubstr("line 2"), HasSubstr("UTF-8")));
  EXPECT_THAT(refused("line\n\xc3\x28\n", PromptFormat::kLines), HasSubstr("line 2"));
}

TEST(PromptsTest, AnEmptyFileIsRefused) {
  EXPECT_THAT(refused(""), HasSubstr("empty"));
  EXPECT_THAT(refused("\n  \n", PromptFormat::kLines), HasSubstr("empty"));
  EXPECT_FALSE(read_prompts("/nonexistent/prompts.jsonl", PromptFormat::kAuto));
  EXPECT_FALSE(prompt_format_from_name("parquet"));
}

}  // namespace
}  // namespace retort::collect
