#include "serve/request_parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"

namespace retort::serve {
namespace {

using ::testing::HasSubstr;

Json chat_with(const Json& more) {
  Json body = {{"model", "m"}, {"messages", Json::array({{{"role", "user"}, {"content", "hi"}}})}};
  if (!more.is_null()) body.update(more);
  return body;
}
Json completion_with(const Json& more) {
  Json body = {{"model", "m"}, {"prompt", "hi"}};
  if (!more.is_null()) body.update(more);
  return body;
}
GenerationRequest parsed(Endpoint endpoint, const Json& body) {
  const auto request = parse_request(endpoint, body.dump());
  EXPECT_TRUE(request) << request.error().message;
  return request ? *request : GenerationRequest{};
}

TEST(RequestParserTest, DefaultsAreThoseOfTheApi) {
  const GenerationRequest chat = parsed(Endpoint::kChat, chat_with({}));
  EXPECT_EQ(chat.model, "m");
  ASSERT_EQ(chat.messages.size(), 1U);
  EXPECT_EQ(chat.messages[0], (Message{Role::kUser, "hi"}));
  EXPECT_EQ(chat.sampling.temperature, 1);
  EXPECT_EQ(chat.sampling.top_p, 1);
  EXPECT_EQ(chat.sampling.max_tokens, -1);
  EXPECT_EQ(chat.n, 1);
  EXPECT_FALSE(chat.seeded || chat.stream || chat.top_logprobs || chat.return_token_ids);
  EXPECT_EQ(parsed(Endpoint::kCompletions, completion_with({})).sampling.max_tokens, 16);
}

// A copy of such a value would run out of stack.
TEST(RequestParserTest, DeepValuesAreRefusedLikeOthers) {
  const std::string deep = std::string(200'000, '[') + std::string(200'000, ']');
  const std::string begin = R"({"model": "m", "messages": [{"role": "user", "content": "hi"}], )";
  for (const std::string& more : {R"("stop": )" + deep, R"("response_format": {"type": )" + deep + "}"}) {
    EXPECT_FALSE(parse_request(Endpoint::kChat, begin + more + "}"));
  }
}

TEST(RequestParserTest, AnEmptySuffixAsksForNothing) {
  parsed(Endpoint::kCompletions, completion_with({{"suffix", ""}}));
  EXPECT_FALSE(parse_request(Endpoint::kCompletions, completion_with({{"suffix", "x"}}).dump()));
}

TEST(RequestParserTest, PromptsTimesAnswersHaveABound) {
  const std::vector<std::string> prompts(64, "a");
  parsed(Endpoint::kCompletions, completion_with({{"prompt", prompts}, {"n", 64}}));
  const auto refused = parse_request(Endpoint::kCompletions, completion_with({{"prompt", prompts}, {"n", 65}}).dump());
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("4160 answers; expected at most 4096"));
}

TEST(RequestParserTest, EveryMemberArrives) {
  const GenerationRequest chat = parsed(
      Endpoint::kChat,
      chat_with(
          {{"messages",
            {{{"role", "developer"}, {"content", "be kind"}},
             {{"role", "user"}, {"content", {{{"type", "text"}, {"text", "a"}}, {{"type", "text"}, {"text", "b"}}}}},
             {{"role", "assistant"}, {"content", "c"}, {"refusal", nullptr}, {"tool_calls", Json::array()}}}},
           {"temperature", 0.5},
           {"top_p", 0.9},
           {"max_completion_tokens", 7},
           {"seed", -3},
           {"n", 2},
           {"stop", {"x", "y"}},
           {"stream", true},
           {"stream_options", {{"include_usage", true}}},
           {"logprobs", true},
           {"top_logprobs", 20},
           {"user", "me"},
           {"store", true},
           {"metadata", {{"a", "b"}}},
           {"tools", Json::array()},
           {"tool_choice", "none"},
           {"response_format", {{"type", "text"}}},
           {"presence_penalty", 0},
           {"frequency_penalty", 0.0},
           {"top_k", 40},
           {"min_p", 0.1},
           {"return_token_ids", true},
           {"ignore_eos", true}}));
  ASSERT_EQ(chat.messages.size(), 3U);
  EXPECT_EQ(chat.messages[0].role, Role::kSystem);
  EXPECT_EQ(chat.messages[1].content, "ab");
  EXPECT_EQ(chat.sampling.temperature, 0.5);
  EXPECT_EQ(chat.sampling.top_p, 0.9);
  EXPECT_EQ(chat.sampling.max_tokens, 7);
  EXPECT_EQ(chat.sampling.top_k, 40);
  EXPECT_EQ(chat.sampling.min_p, 0.1);
  EXPECT_TRUE(chat.seeded);
  EXPECT_EQ(chat.sampling.seed, static_cast<std::uint64_t>(-3));
  EXPECT_EQ(chat.n, 2);
  EXPECT_EQ(chat.stop, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(chat.top_logprobs, 20);
  EXPECT_TRUE(chat.stream && chat.include_usage && chat.return_token_ids && chat.ignore_eos);
}

TEST(RequestParserTest, PromptsOfEveryForm) {
  using Ids = std::vector<TokenId>;
  const auto prompts = [](const Json& prompt) {
    return parsed(Endpoint::kCompletions, completion_with({{"prompt", prompt}})).prompts;
  };
  EXPECT_EQ(prompts("a"), (std::vector<PromptInput>{"a"}));
  EXPECT_EQ(prompts({"a", "b"}), (std::vector<PromptInput>{"a", "b"}));
  EXPECT_EQ(prompts({1, 2}), (std::vector<PromptInput>{Ids{1, 2}}));
  EXPECT_EQ(prompts(Json::array({Json::array({1, 2}), Json::array({3})})),
            (std::vector<PromptInput>{Ids{1, 2}, Ids{3}}));
  const GenerationRequest scoring = parsed(
      Endpoint::kCompletions, completion_with({{"echo", true}, {"logprobs", 5}, {"max_tokens", 0}, {"stop", "x"}}));
  EXPECT_TRUE(scoring.echo);
  EXPECT_EQ(scoring.top_logprobs, 5);
  EXPECT_EQ(scoring.sampling.max_tokens, 0);
  EXPECT_EQ(scoring.stop, (std::vector<std::string>{"x"}));
}

TEST(RequestParserTest, NullIsAbsent) {
  for (const char* key : {"temperature", "top_p", "max_tokens", "stop", "seed", "n", "stream", "stream_options",
                          "logprobs", "top_logprobs", "tools", "response_format", "logit_bias", "user"}) {
    parsed(Endpoint::kChat, chat_with({{key, nullptr}}));
  }
}

TEST(RequestParserTest, WhatIsWrongIsNamed) {
  struct Case {
    Endpoint endpoint;
    Json more;
    std::string param;
    std::string says;
  };
  const auto chat = Endpoint::kChat;
  const auto completions = Endpoint::kCompletions;
  const std::vector<Case> cases = {
      {chat, {{"model", nullptr}}, "model", "missing"},
      {chat, {{"model", 3}}, "model", "expected a text"},
      {chat, {{"messages", Json::array()}}, "messages", "empty"},
      {chat, {{"messages", "hi"}}, "messages", "a list of messages"},
      {chat, {{"messages", {1}}}, "messages[0]", "an object"},
      {chat, {{"messages", Json::array({{{"role", "king"}, {"content", ""}}})}}, "messages[0].role", "'king'"},
      {chat, {{"messages", {{{"role", "user"}}}}}, "messages[0].content", "missing"},
      {chat,
       {{"messages", Json::array({{{"role", "user"}, {"content", 5}}})}},
       "messages[0].content",
       "a text or a list"},
      {chat,
       {{"messages", {{{"role", "user"}, {"content", {{{"type", "image_url"}}}}}}}},
       "messages[0].content[0]",
       "image_url"},
      {chat,
       {{"messages", {{{"role", "user"}, {"content", "a"}, {"name", "me"}}}}},
       "messages[0].name",
       "not supported"},
      {chat, {{"temperature", 2.5}}, "temperature", "expected 0"},
      {chat, {{"temperature", "hot"}}, "temperature", "a number"},
      {chat, {{"top_p", -1}}, "top_p", "0"},
      {chat, {{"n", 0}}, "n", "1"},
      {chat, {{"n", 1.5}}, "n", "whole"},
      {chat, {{"max_tokens", 0}}, "max_tokens", "1"},
      {chat, {{"max_tokens", 1}, {"max_completion_tokens", 2}}, "max_tokens", "differ"},
      {chat, {{"stop", {""}}}, "stop", "empty"},
      {chat, {{"stop", 3}}, "stop", "a text"},
      {chat, {{"stop", std::vector<std::string>(17, "x")}}, "stop", "at most 16"},
      {chat, {{"top_logprobs", 3}}, "top_logprobs", "'logprobs' is true"},
      {chat, {{"logprobs", true}, {"top_logprobs", 21}}, "top_logprobs", "20"},
      {chat, {{"logprobs", 5}}, "logprobs", "true or false"},
      {chat, {{"stream_options", {{"include_usage", true}}}}, "stream_options", "'stream' is true"},
      {chat,
       {{"stream", true}, {"stream_options", {{"include_usag", true}}}},
       "stream_options.include_usag",
       "include_usage"},
      {chat, {{"tools", {{{"type", "function"}}}}}, "tools", "not supported"},
      {chat, {{"tool_choice", "required"}}, "tool_choice", "not supported"},
      {chat, {{"response_format", {{"type", "json_object"}}}}, "response_format", "not supported"},
      {chat, {{"logit_bias", {{"5", 1}}}}, "logit_bias", "not supported"},
      {chat, {{"frequency_penalty", 0.5}}, "frequency_penalty", "not supported"},
      {chat, {{"modalities", {"audio"}}}, "modalities", "not supported"},
      {chat, {{"temprature", 1}}, "temprature", "'temperature'"},
      {chat, {{"echo", true}}, "echo", "not a parameter"},
      {completions, {{"prompt", nullptr}}, "prompt", "missing"},
      {completions, {{"prompt", Json::array()}}, "prompt", "expected a text"},
      {completions, {{"prompt", {1, "a"}}}, "prompt[0]", "a list of token ids"},
      {completions, {{"logprobs", true}}, "logprobs", "whole number"},
      {completions, {{"logprobs", 21}}, "logprobs", "20"},
      {completions, {{"max_tokens", -1}}, "max_tokens", "0"},
      {completions, {{"suffix", "x"}}, "suffix", "not supported"},
      {completions, {{"best_of", 3}}, "best_of", "not supported"},
  };
  for (const Case& wrong : cases) {
    const Json body = wrong.endpoint == chat ? chat_with(wrong.more) : completion_with(wrong.more);
    const auto request = parse_request(wrong.endpoint, body.dump());
    ASSERT_FALSE(request) << body;
    EXPECT_EQ(request.error().status, 400);
    EXPECT_EQ(request.error().param, wrong.param) << body;
    EXPECT_THAT(request.error().message, HasSubstr(wrong.says));
  }
}

TEST(RequestParserTest, WhatIsNoJsonObjectIsRefused) {
  for (const std::string body : {"", "{", "[]", "3", "{\"model\": \"\xff\"}", "{\"a\": 1} x"}) {
    const auto request = parse_request(Endpoint::kChat, body);
    ASSERT_FALSE(request) << body;
    EXPECT_EQ(request.error().status, 400);
  }
  std::string deep(1'000'000, '[');
  EXPECT_FALSE(parse_request(Endpoint::kChat, deep));
  EXPECT_FALSE(parse_request(Endpoint::kChat, deep + std::string(1'000'000, ']')));
}

TEST(RequestParserTest, HugeNumbersAreNoTrouble) {
  for (const char* number : {"1e300", "-1e300", "18446744073709551615", "9223372036854775808.0", "1e-320"}) {
    for (const char* key : {"seed", "n", "max_tokens", "top_k", "temperature"}) {
      parse_request(Endpoint::kCompletions,
                    std::string(R"({"model":"m","prompt":[1e99],")") + key + "\":" + number + "}");
      parse_request(Endpoint::kCompletions,
                    std::string(R"({"model":"m","prompt":["a"],")") + key + "\":" + number + "}");
    }
  }
}

}  // namespace
}  // namespace retort::serve
