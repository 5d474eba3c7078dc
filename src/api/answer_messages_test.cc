#include <gtest/gtest.h>

#include "api/answer.h"
#include "api/testing.h"

namespace retort::api {
namespace {

using testing::everything;
using testing::messages_stream;
using testing::sealing;
using testing::Sent;
using testing::sent;
using testing::stream_of;

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(MessagesAnswer, IsMeteredExactly) {
  const AnswerFacts facts = sent(Operation::kMessages, {messages_stream()}, sealing()).facts;
  EXPECT_TRUE(facts.usage.reported);
  EXPECT_EQ(facts.usage.input, 330) << "cached input is input";
  EXPECT_EQ(facts.usage.cached, 300);
  EXPECT_EQ(facts.usage.cache_written, 20);
  EXPECT_EQ(facts.usage.output, 42);
  EXPECT_EQ(facts.finish, "tool_use");
  EXPECT_EQ(facts.text, "It is \u00fc \u4e2d");
  EXPECT_EQ(facts.reasoning, "Let me think.");
  EXPECT_TRUE(facts.reasoning_seen);
  EXPECT_EQ(facts.tool_calls, Json::parse(R"([{"type":"tool_use","id":"toolu_1","name":"look","input":{"q":1}}])"));
}

TEST(MessagesAnswer, CountsACutAnswerByWhatCame) {
  const std::string stream = messages_stream();
  const AnswerFacts facts =
      sent(Operation::kMessages, {std::string_view(stream).substr(0, stream.find("event: message_delta"))}, sealing())
          .facts;
  EXPECT_FALSE(facts.usage.reported);
  EXPECT_FALSE(facts.ended);
  EXPECT_EQ(facts.usage.input, 330);
  EXPECT_EQ(facts.usage.output, (13 + 12 + 4 + 8 + 3) / 4) << "thinking, text, the tool's name and its input";
}

TEST(MessagesAnswer, SealsSignaturesAndRedactedThinking) {
  std::string expected = replaced(messages_stream(), "EqQBsig+/=", "sealed<EqQBsig+/=>");
  expected = replaced(expected, "EmwKdata", "sealed<EmwKdata>");
  EXPECT_EQ(sent(Operation::kMessages, {messages_stream()}, sealing()).bytes, expected);
}

TEST(MessagesAnswer, JoinsASignatureThatComesInPieces) {
  const auto delta = [](const std::string& signature) {
    return R"({"type":"content_block_delta","index":4,"delta":{"type":"signature_delta","signature":")" + signature +
           R"("}})";
  };
  const std::string stop = R"({"type":"content_block_stop","index":4})";
  const std::string ping = R"({"type":"ping"})";
  EXPECT_EQ(
      sent(Operation::kMessages, {stream_of({delta("AB"), ping, delta("C\\u0044"), stop}, true)}, sealing()).bytes,
      stream_of({ping, delta("sealed<ABCD>"), stop}, true));
  // Of two blocks at once each has its own.
  const std::string other =
      R"({"type":"content_block_delta","index":5,"delta":{"type":"signature_delta","signature":"X"}})";
  const std::string other_stop = R"({"type":"content_block_stop","index":5})";
  const std::string out =
      sent(Operation::kMessages, {stream_of({delta("A"), other, delta("B"), other_stop, stop}, true)}, sealing()).bytes;
  EXPECT_LT(out.find("sealed<X>"), out.find("sealed<AB>"));
}

TEST(MessagesAnswer, StripsThinkingAndKeepsItsBlock) {
  std::string expected = messages_stream();
  for (const std::string text : {"Let me ", "think."}) {
    const std::string event = stream_of(
        {R"({"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":")" + text + R"("}})"},
        true);
    expected = replaced(expected, event, "");
  }
  AnswerEdits edits;
  edits.strip_reasoning = true;
  EXPECT_EQ(sent(Operation::kMessages, {messages_stream()}, edits).bytes, expected);
  const std::string start =
      R"({"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"early","signature":"S"}})";
  EXPECT_EQ(sent(Operation::kMessages, {stream_of({start}, true)}, everything()).bytes,
            stream_of({replaced(replaced(start, "early", ""), "\"S\"", "\"sealed<S>\"")}, true));
}

TEST(MessagesAnswer, IsChangedWholeToo) {
  const std::string body =
      R"({"id":"msg_1","type":"message","role":"assistant", "content":[{"type":"thinking","thinking":"Let me","signature":"Sig=="},)"
      R"({"type":"redacted_thinking","data":"D"},{"type":"text","text":"Hi"},{"type":"tool_use","id":"t","name":"n","input":{"a":[1]}}],)"
      R"("stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":9,"output_tokens_details":{"thinking_tokens":4}}})";
  AnswerStream answer(Operation::kMessages, 0, everything());
  EXPECT_EQ(answer.whole(body),
            replaced(replaced(replaced(body, "Let me", ""), "Sig==", "sealed<Sig==>"), "\"D\"", "\"sealed<D>\""));
  const AnswerFacts facts = answer.facts();
  EXPECT_EQ(facts.usage.input, 3);
  EXPECT_EQ(facts.usage.output, 9);
  EXPECT_EQ(facts.usage.reasoning, 4);
  EXPECT_EQ(facts.finish, "end_turn");
  EXPECT_EQ(facts.text, "Hi");
  EXPECT_EQ(facts.reasoning, "Let me");
  EXPECT_EQ(facts.tool_calls, Json::parse(R"([{"type":"tool_use","id":"t","name":"n","input":{"a":[1]}}])"));
  AnswerStream same(Operation::kMessages, 0, {});
  EXPECT_EQ(same.whole(body), body);
}

TEST(MessagesAnswer, SaysThatUpstreamFailed) {
  const std::string stream = messages_stream();
  const std::string cut =
      stream.substr(0, stream.find("event: message_delta")) +
      stream_of({R"({"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}})"}, true);
  const Sent out = sent(Operation::kMessages, {cut});
  EXPECT_EQ(out.bytes, cut);
  EXPECT_TRUE(out.facts.failed);
  EXPECT_FALSE(out.facts.ended);
  AnswerStream whole(Operation::kMessages, 0, {});
  whole.whole(R"({"type":"error","error":{"type":"api_error","message":"x"}})");
  EXPECT_TRUE(whole.facts().failed);
}

}  // namespace
}  // namespace retort::api
