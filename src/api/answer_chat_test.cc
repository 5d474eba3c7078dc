#include <gtest/gtest.h>

#include "api/answer.h"
#include "api/testing.h"

namespace retort::api {
namespace {

using testing::chat_stream;
using testing::everything;
using testing::reasoning_chat_stream;
using testing::sealing;
using testing::Sent;
using testing::sent;
using testing::stream_of;

TEST(ChatAnswer, IsMeteredExactly) {
  AnswerEdits edits;
  edits.keep_text = true;
  const AnswerFacts facts = sent(Operation::kChat, {chat_stream(true)}, edits).facts;
  EXPECT_TRUE(facts.usage.reported);
  EXPECT_EQ(facts.usage.input, 19);
  EXPECT_EQ(facts.usage.output, 30);
  EXPECT_EQ(facts.usage.reasoning, 12);
  EXPECT_EQ(facts.finish, "tool_calls");
  EXPECT_FALSE(facts.failed);
  EXPECT_FALSE(facts.reasoning_seen);
  EXPECT_EQ(facts.text, "Hel\"lo w\u00f6rld \U0001F600");
  EXPECT_EQ(facts.text_bytes, static_cast<std::int64_t>(facts.text.size() + 5)) << "of both choices";
  EXPECT_EQ(facts.tool_calls,
            Json::parse(R"([{"id":"call_1","type":"function","function":{"name":"look","arguments":"{\"q\":1}"}}])"));
  EXPECT_TRUE(sent(Operation::kChat, {chat_stream(true)}).facts.text.empty());
}

TEST(ChatAnswer, LooksAsIfUsageHadNotBeenAskedFor) {
  AnswerEdits edits;
  edits.hide_usage = true;
  const Sent hidden = sent(Operation::kChat, {chat_stream(true)}, edits);
  EXPECT_EQ(hidden.bytes, chat_stream(false));
  EXPECT_EQ(hidden.facts.usage.output, 30) << "metered all the same";
  EXPECT_EQ(sent(Operation::kCompletions, {testing::completions_stream(true)}, edits).bytes,
            testing::completions_stream(false));
  // What an upstream says of its own accord stays.
  for (const std::string event :
       {R"({"choices":[],"prompt_filter_results":[]})", R"({"choices":[],"usage":{"x":1},"error":null)",
        R"({"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}})",
        R"({"usage":{"prompt_tokens":1}})"}) {
    const std::string stream = "data: " + event + "\n\n";
    EXPECT_EQ(sent(Operation::kChat, {stream}, edits).bytes, stream);
  }
  const auto spliced = [&](const std::string& text) {
    const Sent out = sent(Operation::kChat, {"data: " + text + "\n\n"}, edits);
    return out.bytes.substr(6, out.bytes.size() - 8);
  };
  EXPECT_EQ(spliced(R"({"usage":null,"choices":[1]})"), R"({"choices":[1]})");
  EXPECT_EQ(spliced(R"({"choices": [1], "usage": null})"), R"({"choices": [1]})");
  EXPECT_EQ(spliced(R"({"choices":[{"usage":null}],"usag\u0065":null,"x":"\"usage\":null"})"),
            R"({"choices":[{"usage":null}],"x":"\"usage\":null"})");
}

TEST(ChatAnswer, StripsReasoningAndLogprobsAndSealsBlobs) {
  const Sent out = sent(Operation::kChat, {reasoning_chat_stream()}, everything());
  EXPECT_EQ(
      out.bytes,
      stream_of(
          {R"({"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]})",
           R"({"id":"c","choices":[{"index":0,"delta":{"content":"","reasoning_details":[{"type":"reasoning.text","signature":"sealed<SIG==>"},{"type":"reasoning.encrypted","data":"sealed<DATA>"}]},"finish_reason":null}]})",
           R"({"id":"c","choices":[{"index":0,"delta":{"content":"7","reasoning_content":null},"logprobs":null,"finish_reason":null}]})",
           R"({"id":"c","choices":[{"index":0,"delta":{"content":""},"logprobs":null,"finish_reason":"stop"}]})"}) +
          "data: [DONE]\n\n");
  EXPECT_EQ(out.facts.reasoning, "Let me see.ends");
  EXPECT_TRUE(out.facts.reasoning_seen);
  EXPECT_EQ(out.facts.text, "7");
}

TEST(ChatAnswer, KeepsTheFirstChunkThoughItIsReasoningAlone) {
  AnswerEdits edits;
  edits.strip_reasoning = true;
  EXPECT_EQ(sent(Operation::kChat,
                 {stream_of({R"({"choices":[{"index":0,"delta":{"role":"assistant","reasoning":"a"}}]})",
                             R"({"choices":[{"index":0,"delta":{"role":"assistant","reasoning":"b"}}]})",
                             R"({"choices":[{"index":0,"delta":{"reasoning":"c"},"finish_reason":"length"}]})"})},
                 edits)
                .bytes,
            stream_of({R"({"choices":[{"index":0,"delta":{"role":"assistant","reasoning":null}}]})",
                       R"({"choices":[{"index":0,"delta":{"reasoning":null},"finish_reason":"length"}]})"}));
}

TEST(ChatAnswer, KnowsReasoningAmongThePartsOfAText) {
  const std::string body =
      R"({"choices":[{"index":0,"message":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"7"}]}}]})";
  AnswerStream answer(Operation::kChat, 0, everything());
  EXPECT_EQ(
      answer.whole(body),
      R"({"choices":[{"index":0,"message":{"content":[{"type":"thinking","thinking":[]},{"type":"text","text":"7"}]}}]})");
  EXPECT_EQ(answer.facts().text, "7");
  EXPECT_EQ(answer.facts().reasoning, "hm");
  const auto chunk = [](const std::string& content) {
    return R"({"choices":[{"index":0,"delta":{"content":)" + content + "}}]}";
  };
  EXPECT_EQ(
      sent(Operation::kChat,
           {stream_of({chunk("\"\""), chunk(R"([{"type":"thinking","thinking":"hm"}])"), chunk(R"([{"text":"7"}])")})},
           everything())
          .bytes,
      stream_of({chunk("\"\""), chunk(R"([{"text":"7"}])")}));
}

TEST(ChatAnswer, StripsLogprobsOfCompletionsAndPrompts) {
  AnswerEdits edits;
  edits.strip_logprobs = true;
  EXPECT_EQ(sent(Operation::kCompletions, {testing::completions_stream(false)}, edits).bytes.find("token_logprobs"),
            std::string::npos);
  EXPECT_EQ(
      sent(Operation::kCompletions,
           {stream_of({R"({"choices":[{"text":"x","index":0,"logprobs":null,"prompt_logprobs":[null,{"7":1e-5}]}]})"})},
           edits)
          .bytes,
      stream_of({R"({"choices":[{"text":"x","index":0,"logprobs":null,"prompt_logprobs":null}]})"}));
}

TEST(ChatAnswer, IsChangedWholeToo) {
  AnswerStream answer(Operation::kChat, 0, everything());
  const std::string body =
      "{\n  \"id\": \"c\", \"choices\": [ {\"index\": 0, \"message\": {\"role\": \"assistant\", \"content\": \"7\", "
      "\"reasoning_content\": \"think\", \"reasoning_details\": "
      "[{\"type\":\"reasoning.text\",\"text\":\"think\",\"signature\":\"S\"}], "
      "\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},"
      "{\"id\":\"b\",\"type\":\"custom\",\"custom\":{\"name\":\"g\",\"input\":\"x\"}}]}, "
      "\"logprobs\": {\"content\": []}, \"finish_reason\": \"stop\"} ],\n  \"usage\": {\"prompt_tokens\": 5, "
      "\"completion_tokens\": 6, \"total_tokens\": 31, \"completion_tokens_details\": {\"reasoning_tokens\": 20}} }\n";
  EXPECT_EQ(
      answer.whole(body),
      "{\n  \"id\": \"c\", \"choices\": [ {\"index\": 0, \"message\": {\"role\": \"assistant\", \"content\": \"7\", "
      "\"reasoning_content\": null, \"reasoning_details\": "
      "[{\"type\":\"reasoning.text\",\"text\":\"\",\"signature\":\"sealed<S>\"}], "
      "\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},"
      "{\"id\":\"b\",\"type\":\"custom\",\"custom\":{\"name\":\"g\",\"input\":\"x\"}}]}, "
      "\"logprobs\": null, \"finish_reason\": \"stop\"} ],\n  \"usage\": {\"prompt_tokens\": 5, "
      "\"completion_tokens\": 6, \"total_tokens\": 31, \"completion_tokens_details\": {\"reasoning_tokens\": 20}} }\n");
  const AnswerFacts facts = answer.facts();
  EXPECT_EQ(facts.usage.output, 26) << "a service that counts reasoning beside the completion";
  EXPECT_EQ(facts.tool_calls.size(), 2U);
  EXPECT_EQ(facts.tool_calls[1], Json::parse(R"({"id":"b","type":"custom","custom":{"name":"g","input":"x"}})"));
  EXPECT_TRUE(facts.ended);
  AnswerStream same(Operation::kChat, 0, {});
  EXPECT_EQ(same.whole(body), body);
}

TEST(ChatAnswer, SaysThatUpstreamFailed) {
  const AnswerFacts facts = sent(Operation::kChat, {"data: {\"error\":{\"message\":\"no\"}}\n\n"}).facts;
  EXPECT_TRUE(facts.failed);
  EXPECT_FALSE(facts.ended);
  AnswerStream whole(Operation::kChat, 0, {});
  whole.whole(R"({"error":{"message":"no"}})");
  EXPECT_TRUE(whole.facts().failed);
  AnswerStream fine(Operation::kChat, 0, {});
  fine.whole(R"({"error":null,"choices":[]})");
  EXPECT_FALSE(fine.facts().failed);
}

TEST(StoredAnswer, IsChangedByItsForm) {
  AnswerStream list(Operation::kStored, 0, everything());
  EXPECT_EQ(
      list.whole(
          R"({"object":"list","data":[{"object":"chat.completion","choices":[{"index":0,"message":{"reasoning":"x"}}]},)"
          R"({"type":"reasoning","encrypted_content":"E","summary":["s"]}]})"),
      R"({"object":"list","data":[{"object":"chat.completion","choices":[{"index":0,"message":{"reasoning":null}}]},)"
      R"({"type":"reasoning","encrypted_content":"sealed<E>","summary":[]}]})");
  AnswerStream response(Operation::kStored, 0, everything());
  EXPECT_EQ(
      response.whole(
          R"({"object":"response","status":"completed","output":[{"type":"reasoning","encrypted_content":"E"}]})"),
      R"({"object":"response","status":"completed","output":[{"type":"reasoning","encrypted_content":"sealed<E>"}]})");
}

}  // namespace
}  // namespace retort::api
