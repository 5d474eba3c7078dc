#include <gtest/gtest.h>

#include <regex>

#include "api/answer.h"
#include "api/testing.h"

namespace retort::api {
namespace {

using testing::everything;
using testing::responses_stream;
using testing::sealing;
using testing::Sent;
using testing::sent;

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// Without the events whose type has this beginning.
std::string without_events(const std::string& stream, const std::string& type) {
  return std::regex_replace(stream, std::regex("event: " + type + "[^\n]*\n[^\n]*\n\n"), "");
}

TEST(ResponsesAnswer, IsMeteredExactly) {
  AnswerEdits edits;
  edits.keep_text = true;
  const AnswerFacts facts = sent(Operation::kResponses, {responses_stream()}, edits).facts;
  EXPECT_TRUE(facts.usage.reported);
  EXPECT_EQ(facts.usage.input, 40);
  EXPECT_EQ(facts.usage.output, 25);
  EXPECT_EQ(facts.usage.reasoning, 11);
  EXPECT_EQ(facts.finish, "completed");
  EXPECT_EQ(facts.text, "Hi there");
  EXPECT_EQ(facts.text_bytes, 8) << "what events told isn't counted again";
  EXPECT_EQ(facts.reasoning, "**Plan** it");
  EXPECT_EQ(facts.reasoning_bytes, 11);
  EXPECT_EQ(facts.sequence, 20);
  EXPECT_EQ(facts.tool_calls,
            Json::parse(R"([{"type":"function_call","call_id":"call_1","name":"look","arguments":"{\"q\":1}"}])"));
}

TEST(ResponsesAnswer, SealsEachBlobOnceWhereverItStands) {
  std::vector<std::string> asked;
  AnswerEdits edits;
  edits.seal = [&](std::string_view blob) {
    asked.emplace_back(blob);
    return "S" + std::to_string(asked.size());
  };
  const Sent out = sent(Operation::kResponses, {responses_stream()}, edits);
  EXPECT_EQ(asked, (std::vector<std::string>{"gAAA-added", "gAAA-done"}));
  EXPECT_EQ(out.bytes, replaced(replaced(responses_stream(), "gAAA-added", "S1"), "gAAA-done", "S2"));
}

TEST(ResponsesAnswer, StripsReasoning) {
  AnswerEdits edits;
  edits.strip_reasoning = true;
  edits.keep_text = true;
  const Sent out = sent(Operation::kResponses, {responses_stream()}, edits);
  EXPECT_EQ(out.bytes, replaced(without_events(responses_stream(), "response.reasoning"),
                                R"("summary":[{"type":"summary_text","text":"**Plan** it"}])", R"("summary":[])"));
  EXPECT_EQ(out.bytes.find("Plan"), std::string::npos);
  EXPECT_EQ(out.facts.reasoning, "**Plan** it") << "evidence has it all the same";
  // Open models give reasoning as content.
  const std::string content = testing::stream_of(
      {R"({"type":"response.reasoning_text.delta","delta":"secret"})",
       R"({"type":"response.content_part.added","part":{"type":"reasoning_text","text":"secret"}})",
       R"({"type":"response.output_item.done","item":{"type":"reasoning","content":[{"type":"reasoning_text","text":"secret"}]}})"},
      true);
  EXPECT_EQ(
      sent(Operation::kResponses, {content}, edits).bytes,
      testing::stream_of({R"({"type":"response.output_item.done","item":{"type":"reasoning","content":[]}})"}, true));
}

TEST(ResponsesAnswer, StripsLogprobs) {
  AnswerEdits edits;
  edits.strip_logprobs = true;
  std::string expected = replaced(responses_stream(), R"("logprobs":[{"token":"Hi","logprob":-0.1,"top_logprobs":[]}])",
                                  R"("logprobs":[])");
  expected = replaced(expected, R"("logprobs":[{"token":"Hi","logprob":-0.1}])", R"("logprobs":[])");
  EXPECT_EQ(sent(Operation::kResponses, {responses_stream()}, edits).bytes, expected);
}

TEST(ResponsesAnswer, IsChangedWholeToo) {
  const std::string body =
      R"({"id":"r","object":"response","status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"output":[)"
      R"({"type":"reasoning","encrypted_content":"E","summary":[{"type":"summary_text","text":"secret"}]},)"
      R"({"type":"compaction","encrypted_content":"C"},)"
      R"({"type":"message","content":[{"type":"output_text","text":"Hi","logprobs":[{"logprob":-1e-7}]}]}],)"
      R"("usage":{"input_tokens":1,"output_tokens":2,"output_tokens_details":{"reasoning_tokens":1}},"temperature":1.0})";
  AnswerStream answer(Operation::kResponses, 0, everything());
  std::string expected = replaced(body, R"([{"type":"summary_text","text":"secret"}])", "[]");
  expected = replaced(expected, R"([{"logprob":-1e-7}])", "[]");
  expected = replaced(replaced(expected, R"("E")", R"("sealed<E>")"), R"("C")", R"("sealed<C>")");
  EXPECT_EQ(answer.whole(body), expected);
  const AnswerFacts facts = answer.facts();
  EXPECT_EQ(facts.finish, "max_output_tokens");
  EXPECT_EQ(facts.text, "Hi");
  EXPECT_EQ(facts.reasoning, "secret");
  EXPECT_EQ(facts.usage.output, 2);
  EXPECT_TRUE(facts.ended);
  AnswerStream same(Operation::kResponses, 0, {});
  EXPECT_EQ(same.whole(body), body);
}

TEST(ResponsesAnswer, SaysThatUpstreamFailed) {
  const AnswerFacts failed =
      sent(
          Operation::kResponses,
          {testing::stream_of(
              {R"({"type":"response.failed","response":{"status":"failed","error":{"code":"x"},"output":[]}})"}, true)})
          .facts;
  EXPECT_TRUE(failed.failed);
  EXPECT_TRUE(failed.ended);
  const AnswerFacts error =
      sent(Operation::kResponses, {testing::stream_of({R"({"type":"error","code":"x"})"}, true)}).facts;
  EXPECT_TRUE(error.failed);
  EXPECT_FALSE(error.ended);
}

}  // namespace
}  // namespace retort::api
