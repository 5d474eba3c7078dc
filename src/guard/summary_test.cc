#include "guard/summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace retort::guard {
namespace {

using ::testing::HasSubstr;

TEST(SummaryTest, StandsWhereTheReasoningWas) {
  const std::string chat = R"({"choices":[{"message":{"content":"4","reasoning_content":""}}]})";
  EXPECT_THAT(with_summary(api::Operation::kChat, chat, "sums"), HasSubstr(R"("reasoning_content":"sums")"));
  const std::string messages = R"({"content":[{"type":"thinking","thinking":""},{"type":"text","text":"4"}]})";
  EXPECT_THAT(with_summary(api::Operation::kMessages, messages, "sums"), HasSubstr(R"("thinking":"sums")"));
  const std::string responses = R"({"output":[{"type":"reasoning","summary":[]}]})";
  EXPECT_THAT(with_summary(api::Operation::kResponses, responses, "sums"), HasSubstr(R"("text":"sums")"));
}

TEST(SummaryTest, AnAnswerOfAnotherShapeStaysAsItIs) {
  for (const std::string answer : {R"(not JSON)", R"([])", R"({"choices":[]})", R"({"choices":[5]})",
                                   R"({"choices":[{"message":5}]})", R"({"content":[5,{},{"type":5},{"type":null}]})",
                                   R"({"output":[{"type":["reasoning"]}]})", R"({"content":5,"output":{}})"}) {
    for (const auto operation : {api::Operation::kChat, api::Operation::kMessages, api::Operation::kResponses}) {
      EXPECT_EQ(with_summary(operation, answer, "sums"), answer);
    }
  }
}

TEST(SummaryTest, ASummariserIsHeardOnce) {
  std::vector<std::optional<std::string>> heard;
  const auto listener = [&] {
    return std::make_unique<SummaryListener>([&](const std::optional<std::string>& told) { heard.push_back(told); });
  };
  for (const char* body : {R"({"choices":[{"message":{"content":5}}]})", R"({"choices":5})", "[", ""}) {
    const auto one = listener();
    one->on_head({.status = 200, .headers = {}, .body = {}});
    one->on_body(body);
    one->on_end();
    one->give_up();
    EXPECT_EQ(heard, std::vector<std::optional<std::string>>{std::nullopt}) << body;
    heard.clear();
  }
  const auto one = listener();
  one->on_head({.status = 200, .headers = {}, .body = {}});
  one->on_body(R"({"choices":[{"message":{"content":"su)");
  one->on_body(R"(ms"}}]})");
  one->on_end();
  one->give_up();
  EXPECT_EQ(heard, std::vector<std::optional<std::string>>{"sums"});
}

}  // namespace
}  // namespace retort::guard
