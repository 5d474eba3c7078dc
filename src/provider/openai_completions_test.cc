#include "provider/openai_completions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "net/testing.h"

namespace retort::provider {
namespace {

using ::testing::HasSubstr;

TEST(OpenAiCompletionsTest, GoesOnWithOneTextAndRefusesConversations) {
  AskOptions options;
  options.sampling = {.temperature = 0.5, .top_p = 0.9, .top_k = 0, .min_p = 0, .max_tokens = 7, .seed = 5};
  options.top_logprobs = 2;
  const auto body = openai_completions().body("m", Prompt{{{Role::kUser, "Once upon"}}}, options);
  ASSERT_TRUE(body);
  EXPECT_EQ(Json::parse(*body), Json({{"model", "m"},
                                      {"prompt", "Once upon"},
                                      {"temperature", 0.5},
                                      {"top_p", 0.9},
                                      {"max_tokens", 7},
                                      {"seed", 5},
                                      {"logprobs", 2}}));
  Prompt tools{{{Role::kUser, "Hi"}}};
  tools.tools = "[]";
  for (const Prompt& prompt :
       {Prompt{{{Role::kSystem, "Be brief."}, {Role::kUser, "Hi"}}},
        Prompt{{{Role::kUser, "Hi"}, {Role::kAssistant, "Yes?"}, {Role::kUser, "Well"}}}, tools}) {
    const auto refused = openai_completions().body("m", prompt, options);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().fault, Fault::kCaller);
    EXPECT_THAT(refused.error().message, HasSubstr("teacher.api openai"));
  }
}

TEST(OpenAiCompletionsTest, WholeAnswersAreRead) {
  const auto answer =
      openai_completions().read(net::json_outcome(200, R"({"id":"c","model":"m-1","choices":[{"text":" a time",
      "finish_reason":"length","logprobs":{"tokens":[" a"," time"],"token_logprobs":[-0.5,-1.5],
      "top_logprobs":[{" a":-0.5," the":-1},{" time":-1.5}]}}],"usage":{"prompt_tokens":3,"completion_tokens":2}})"));
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->completion.text, " a time");
  EXPECT_EQ(answer->completion.finish_reason, FinishReason::kLength);
  EXPECT_EQ(answer->usage->output, 2);
  EXPECT_EQ(answer->answered_as, "m-1");
  EXPECT_EQ(
      answer->completion.logprobs,
      R"([{"logprob":-0.5,"token":" a","top":[[" a",-0.5],[" the",-1.0]]},{"logprob":-1.5,"token":" time","top":[[" time",-1.5]]}])");
  for (const char* bad :
       {R"({"choices":[{"text":"x","finish_reason":null}]})", R"({"choices":[{"finish_reason":"stop"}]})",
        R"({"choices":[]})", R"({"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]})", "x"}) {
    EXPECT_FALSE(openai_completions().read(net::json_outcome(200, bad))) << bad;
  }
}

TEST(OpenAiCompletionsTest, StreamsAreWholeOnlyAtTheirEnd) {
  net::HttpOutcome stream;
  stream.status = 200;
  stream.headers.add("content-type", "text/event-stream");
  stream.body =
      "data: {\"id\":\"c\",\"choices\":[{\"text\":\"one \",\"finish_reason\":null}]}\n\n"
      "data: {\"choices\":[{\"text\":\"two\",\"finish_reason\":\"stop\"}]}\n\n"
      "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n";
  EXPECT_FALSE(openai_completions().read(stream));
  stream.body += "data: [DONE]\n\n";
  const auto answer = openai_completions().read(stream);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->completion.text, "one two");
  EXPECT_EQ(answer->usage->output, 2);
}

}  // namespace
}  // namespace retort::provider
