#include "provider/dialect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "net/testing.h"

namespace retort::provider {
namespace {

using ::testing::HasSubstr;

constexpr const char* kCalls =
    R"([{"function":{"arguments":"{\"city\":\"Bonn\"}","name":"weather"},"id":"c1","type":"function"}])";
constexpr const char* kTools =
    R"([{"function":{"description":"d","name":"weather","parameters":{"type":"object"}},"type":"function"}])";

// A conversation with everything in it.
Prompt whole_prompt() {
  Prompt prompt;
  prompt.messages = {
      {Role::kSystem, "Be short."}, {Role::kUser, "Weather?"}, {Role::kAssistant, ""}, {Role::kTool, "7 C"}};
  prompt.messages[2].tool_calls = kCalls;
  prompt.messages[3].tool_call_id = "c1";
  prompt.tools = kTools;
  return prompt;
}

AskOptions asked() {
  AskOptions options;
  options.sampling = {.temperature = 0.5, .top_p = 0.9, .top_k = 0, .min_p = 0, .max_tokens = 7, .seed = 5};
  return options;
}

Json body_of(const Dialect& dialect, const Prompt& prompt, const AskOptions& options) {
  const auto body = dialect.body("m", prompt, options);
  EXPECT_TRUE(body);
  return Json::parse(*body);
}

net::HttpOutcome stream(std::string text) {
  net::HttpOutcome outcome;
  outcome.status = 200;
  outcome.headers.add("content-type", "text/event-stream; charset=utf-8");
  outcome.body = std::move(text);
  return outcome;
}

TEST(OpenAiChatTest, AsksForEverythingThatWasSaid) {
  AskOptions options = asked();
  options.top_logprobs = 3;
  options.stream = true;
  const Json body = body_of(openai_chat(), whole_prompt(), options);
  EXPECT_EQ(body.at("max_tokens"), 7);
  EXPECT_EQ(body.at("seed"), 5);
  EXPECT_EQ(body.at("top_logprobs"), 3);
  EXPECT_EQ(body.at("messages").size(), 4U);
  EXPECT_EQ(body.at("messages")[2].at("tool_calls"), Json::parse(kCalls));
  EXPECT_TRUE(body.at("messages")[2].at("content").is_null());
  EXPECT_EQ(body.at("messages")[3].at("tool_call_id"), "c1");
  EXPECT_EQ(body.at("tools"), Json::parse(kTools));
  EXPECT_TRUE(body.at("stream_options").at("include_usage").get<bool>());
  options.max_completion_tokens = true;
  EXPECT_EQ(body_of(openai_chat(), whole_prompt(), options).count("max_tokens"), 0U);
}

TEST(OpenAiChatTest, ReadsAnAnswerWhole) {
  const auto answer = openai_chat().read(net::json_outcome(200, R"({"id":"i","model":"m2","choices":[{"finish_reason":
    "tool_calls","message":{"content":null,"reasoning_content":"hm","tool_calls":[{"id":"c","type":"function",
    "function":{"name":"f","arguments":"{}"}}]},"logprobs":{"content":[{"token":"a","logprob":-0.5,"top_logprobs":
    [{"token":"a","logprob":-0.5}]}]}}],"usage":{"prompt_tokens":3,"completion_tokens":4,
    "completion_tokens_details":{"reasoning_tokens":2}}})"));
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->completion.finish_reason, FinishReason::kToolCalls);
  EXPECT_EQ(answer->completion.reasoning, "hm");
  EXPECT_THAT(answer->completion.tool_calls, HasSubstr("\"name\":\"f\""));
  EXPECT_EQ(answer->completion.logprobs, R"([{"logprob":-0.5,"token":"a","top":[["a",-0.5]]}])");
  EXPECT_EQ(answer->usage->reasoning, 2);
  EXPECT_EQ(answer->answered_as, "m2");
}

TEST(OpenAiChatTest, AStreamIsTheSameAnswerAndEveryCutOfItIsNone) {
  const std::string whole =
      "data: {\"id\":\"i\",\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"Gr\"}}]}\n\n"
      ": comment\n\n"
      "data: {\"choices\":[{\"delta\":{\"content\":\"\xC3\xBC\xC3\x9F\"}}]}\r\n\r\n"
      "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
      "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n"
      "data: [DONE]\n\n";
  const auto answer = openai_chat().read(stream(whole));
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->completion.text, "Gr\xC3\xBC\xC3\x9F");
  EXPECT_EQ(answer->usage->output, 2);
  for (std::size_t size = 0; size + 1 < whole.size(); ++size) {
    EXPECT_FALSE(openai_chat().read(stream(whole.substr(0, size)))) << size;
  }
}

TEST(OpenAiChatTest, AnErrorInsideAStreamIsNoAnswer) {
  const auto answer = openai_chat().read(
      stream("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"error\":{\"message\":\"gone\"}}\n\n"
             "data: [DONE]\n\n"));
  ASSERT_FALSE(answer);
  EXPECT_THAT(answer.error().message, HasSubstr("gone"));
}

TEST(OpenAiChatTest, CallsThatComeInPiecesAreJoined) {
  const auto answer = openai_chat().read(stream(
      R"(data: {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c1","function":{"name":"f","arguments":"{\"a\""}}]}}]})"
      "\n\n"
      R"(data: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]},"finish_reason":"tool_calls"}]})"
      "\n\ndata: [DONE]\n\n"));
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->completion.tool_calls,
            R"([{"function":{"arguments":"{\"a\":1}","name":"f"},"id":"c1","type":"function"}])");
}

TEST(OpenAiChatTest, WhatIsNotWholeIsRefused) {
  for (
      const char* body :
      {"", "[]", "null", "{}", R"({"choices":[]})", R"({"choices":[{}]})",
       R"({"choices":[{"message":{"content":"a"}}]})",
       R"({"choices":[{"message":{"content":"a"},"finish_reason":"odd"}]})",
       R"({"choices":[{"message":{"content":5},"finish_reason":"stop"}]})",
       R"({"choices":[{"message":{"content":"a"},"finish_reason":"stop"},{"message":{"content":"b"},"finish_reason":"stop"}]})",
       R"({"choices":[{"message":{"content":"a"},"finish_reason":"stop","logprobs":{"content":[{"token":1}]}}]})",
       "{\"choices\":[{\"message\":{\"content\":\"\xC3\"},\"finish_reason\":\"stop\"}]}"}) {
    EXPECT_FALSE(openai_chat().read(net::json_outcome(200, body))) << body;
  }
}

TEST(AnthropicTest, SaysTheConversationInItsOwnWords) {
  const Json body = body_of(anthropic_messages(), whole_prompt(), asked());
  EXPECT_EQ(body.at("system"), "Be short.");
  ASSERT_EQ(body.at("messages").size(), 3U);
  EXPECT_EQ(body.at("messages")[1].at("content")[0].at("type"), "tool_use");
  EXPECT_EQ(body.at("messages")[1].at("content")[0].at("input").at("city"), "Bonn");
  EXPECT_EQ(body.at("messages")[2].at("content")[0].at("tool_use_id"), "c1");
  EXPECT_EQ(body.at("tools")[0].at("input_schema").at("type"), "object");
  EXPECT_EQ(body.count("seed"), 0U);
  EXPECT_EQ(body.at("top_p"), 0.9) << "what the recipe says is never left out";
  AskOptions options = asked();
  options.top_logprobs = 0;
  EXPECT_FALSE(anthropic_messages().body("m", whole_prompt(), options));
}

TEST(AnthropicTest, ReadsAnAnswerAndItsStream) {
  const auto answer = anthropic_messages().read(net::json_outcome(
      200, R"({"type":"message","id":"i","model":"c","stop_reason":"end_turn","content":[{"type":"thinking","thinking":
      "hm"},{"type":"text","text":"Hi"}],"usage":{"input_tokens":3,"cache_read_input_tokens":4,"output_tokens":5}})"));
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->completion.text, "Hi");
  EXPECT_EQ(answer->completion.reasoning, "hm");
  EXPECT_EQ(answer->usage->input, 7);
  const std::string whole =
      "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"c\",\"id\":\"i\",\"usage\":"
      "{\"input_tokens\":3,\"output_tokens\":1}}}\n\n"
      "event: ping\ndata: {\"type\":\"ping\"}\n\n"
      "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":"
      "\"text\",\"text\":\"\"}}\n\n"
      "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":"
      "\"text_delta\",\"text\":\"Hi\"}}\n\n"
      "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"max_tokens\"},\"usage\":"
      "{\"output_tokens\":9}}\n\n"
      "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
  const auto streamed = anthropic_messages().read(stream(whole));
  ASSERT_TRUE(streamed) << streamed.error().message;
  EXPECT_EQ(streamed->completion.text, "Hi");
  EXPECT_EQ(streamed->completion.finish_reason, FinishReason::kLength);
  EXPECT_EQ(streamed->usage->output, 9);
  for (std::size_t size = 0; size + 1 < whole.size(); ++size) {
    EXPECT_FALSE(anthropic_messages().read(stream(whole.substr(0, size)))) << size;
  }
}

TEST(OpenAiResponsesTest, AsksWithoutLeavingAnythingAndReadsItems) {
  const Json body = body_of(openai_responses(), whole_prompt(), asked());
  EXPECT_FALSE(body.at("store").get<bool>());
  EXPECT_EQ(body.at("input").size(), 4U);
  EXPECT_EQ(body.at("tools")[0].at("name"), "weather");
  const std::string response =
      R"({"id":"r","model":"m","status":"completed","output":[{"type":"reasoning","summary":[{"text":"hm"}]},
      {"type":"message","content":[{"type":"output_text","text":"Hi"}]}],"usage":{"input_tokens":3,"output_tokens":9,
      "output_tokens_details":{"reasoning_tokens":7}}})";
  const auto answer = openai_responses().read(net::json_outcome(200, response));
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->completion.text, "Hi");
  EXPECT_EQ(answer->usage->reasoning, 7);
  std::string line = response;
  std::erase(line, '\n');
  EXPECT_TRUE(openai_responses().read(stream("data: {\"type\":\"response.completed\",\"response\":" + line + "}\n\n")));
  EXPECT_FALSE(openai_responses().read(stream("data: {\"type\":\"response.created\"}\n\n")));
  EXPECT_FALSE(openai_responses().read(net::json_outcome(200, R"({"status":"failed","output":[]})")));
}

TEST(DialectTest, KeysGoWhereEachApiWantsThem) {
  EXPECT_EQ(openai_chat().headers("k").find("authorization"), "Bearer k");
  EXPECT_EQ(anthropic_messages().headers("k").find("X-Api-Key"), "k");
  EXPECT_FALSE(openai_chat().headers("").find("authorization"));
}

}  // namespace
}  // namespace retort::provider
