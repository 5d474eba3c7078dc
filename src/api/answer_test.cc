#include "api/answer.h"

#include <gtest/gtest.h>

#include <random>

#include "api/testing.h"

namespace retort::api {
namespace {

using testing::chat_stream;
using testing::completions_stream;
using testing::everything;
using testing::messages_stream;
using testing::reasoning_chat_stream;
using testing::responses_stream;
using testing::sealing;
using testing::Sent;
using testing::sent;
using testing::summary;

struct Recorded {
  Operation operation;
  std::string stream;
};

const std::vector<Recorded>& recorded() {
  static const std::vector<Recorded> all = {{Operation::kChat, chat_stream(true)},
                                            {Operation::kChat, reasoning_chat_stream()},
                                            {Operation::kCompletions, completions_stream(true)},
                                            {Operation::kResponses, responses_stream()},
                                            {Operation::kStored, responses_stream()},
                                            {Operation::kMessages, messages_stream()}};
  return all;
}

AnswerEdits keeping() {
  AnswerEdits edits;
  edits.keep_text = true;
  return edits;
}

TEST(AnswerStream, LeavesEveryByteWhereNothingIsAsked) {
  for (const auto& [operation, stream] : recorded()) {
    const std::string_view view = stream;
    const Sent whole = sent(operation, {view}, keeping());
    EXPECT_EQ(whole.bytes, stream);
    for (std::size_t split = 0; split <= stream.size(); ++split) {
      const Sent parts = sent(operation, {view.substr(0, split), view.substr(split)}, keeping());
      ASSERT_EQ(parts.bytes, stream) << name_of(operation) << " split at " << split;
      ASSERT_EQ(summary(parts.facts), summary(whole.facts)) << split;
    }
  }
}

TEST(AnswerStream, ChangesTheSameAtEverySplit) {
  for (const auto& [operation, stream] : recorded()) {
    const std::string_view view = stream;
    const Sent whole = sent(operation, {view}, everything());
    EXPECT_NE(whole.bytes, stream);
    for (std::size_t split = 0; split <= stream.size(); ++split) {
      const Sent parts = sent(operation, {view.substr(0, split), view.substr(split)}, everything());
      ASSERT_EQ(parts.bytes, whole.bytes) << name_of(operation) << " split at " << split;
      ASSERT_EQ(summary(parts.facts), summary(whole.facts)) << split;
    }
  }
}

TEST(AnswerStream, SpeaksOtherLineEndsAndLinesOfDataTheSame) {
  for (const auto& [operation, stream] : recorded()) {
    std::string crlf;
    std::string lines;
    for (const char c : stream) {
      crlf += c == '\n' ? "\r\n" : std::string(1, c);
      lines += c;
    }
    // Every object's first comma is a good place for a line to end.
    for (std::size_t at = lines.find("data: {"); at != std::string::npos; at = lines.find("data: {", at + 9)) {
      lines.insert(at + 7, "\ndata: ");
    }
    EXPECT_EQ(sent(operation, {crlf}, keeping()).bytes, crlf);
    EXPECT_EQ(sent(operation, {lines}, keeping()).bytes, lines);
    const Sent plain = sent(operation, {stream}, everything());
    const Sent of_crlf = sent(operation, {crlf}, everything());
    const Sent of_lines = sent(operation, {lines}, everything());
    EXPECT_EQ(summary(of_crlf.facts), summary(plain.facts));
    EXPECT_EQ(summary(of_lines.facts), summary(plain.facts));
    std::string without_cr = of_crlf.bytes;
    std::erase(without_cr, '\r');
    EXPECT_EQ(without_cr, plain.bytes);
    // Read again, what was sent says the same.
    EXPECT_EQ(summary(sent(operation, {of_lines.bytes}, keeping()).facts),
              summary(sent(operation, {plain.bytes}, keeping()).facts));
  }
}

TEST(AnswerStream, IsOnlyEndedByItsTrueEnd) {
  for (const auto& [operation, stream] : recorded()) {
    const std::string_view view = stream;
    EXPECT_TRUE(sent(operation, {view}).facts.ended);
    for (std::size_t size = 0; size + 1 < stream.size(); ++size) {
      ASSERT_FALSE(sent(operation, {view.substr(0, size)}).facts.ended) << name_of(operation) << " cut at " << size;
    }
  }
}

TEST(AnswerStream, DropsAnEventThatIsCut) {
  const std::string stream = chat_stream(false);
  const std::size_t second = stream.find("Hel");
  EXPECT_EQ(sent(Operation::kChat, {std::string_view(stream).substr(0, second)}).bytes,
            stream.substr(0, stream.rfind("data: ", second)));
}

TEST(AnswerStream, EstimatesUsageUntilItIsReported) {
  AnswerStream answer(Operation::kChat, 41, {});
  EXPECT_EQ(answer.facts().usage.input, 11);
  EXPECT_FALSE(answer.facts().usage.reported);
  ASSERT_TRUE(answer
                  .feed(R"(data: {"choices":[{"index":0,"delta":{"content":"12345","reasoning":"678"}}]})"
                        "\n\n")
                  .has_value());
  EXPECT_EQ(answer.facts().usage.output, 2);
  EXPECT_EQ(answer.facts().usage.reasoning, 1);
  ASSERT_TRUE(answer
                  .feed(R"(data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}})"
                        "\n\n")
                  .has_value());
  EXPECT_FALSE(answer.ended());
  ASSERT_TRUE(answer.feed("data: [DONE]\n\n").has_value());
  EXPECT_TRUE(answer.ended());
  EXPECT_FALSE(answer.failed());
  EXPECT_TRUE(answer.facts().usage.reported);
  EXPECT_EQ(answer.facts().usage.input, 7);
  EXPECT_EQ(answer.facts().usage.output, 3);
  EXPECT_EQ(answer.facts().usage.reasoning, 0);
}

TEST(AnswerStream, SaysWhatItCouldNotRead) {
  AnswerStream answer(Operation::kChat, 0, everything());
  const std::string event = "data: {\"choices\":[{\"logprobs\":NaN}]}\n\n";
  EXPECT_EQ(answer.feed(event).value_or(""), event);
  EXPECT_EQ(answer.unreadable(), 1);
  EXPECT_EQ(answer.feed(": comment\n\n").value_or(""), ": comment\n\n");
  EXPECT_EQ(answer.unreadable(), 1);
  AnswerStream page(Operation::kChat, 0, everything());
  EXPECT_EQ(page.whole("<html>busy</html>"), "<html>busy</html>");
  EXPECT_EQ(page.facts().unreadable, 1);
  EXPECT_FALSE(page.facts().ended);
  EXPECT_EQ(page.facts().usage.output, 5);
}

TEST(AnswerStream, SharesOneReader) {
  const auto reader = std::make_shared<JsonReader>();
  AnswerStream one(Operation::kChat, 0, keeping(), reader);
  AnswerStream other(Operation::kMessages, 0, keeping(), reader);
  const std::string chat = chat_stream(true);
  const std::string messages = messages_stream();
  for (std::size_t at = 0; at < std::max(chat.size(), messages.size()); at += 50) {
    if (at < chat.size()) {
      ASSERT_TRUE(one.feed(std::string_view(chat).substr(at, 50)).has_value());
    }
    if (at < messages.size()) {
      ASSERT_TRUE(other.feed(std::string_view(messages).substr(at, 50)).has_value());
    }
  }
  EXPECT_EQ(one.facts().text, "Hel\"lo w\u00f6rld \U0001F600");
  EXPECT_EQ(other.facts().text, "It is \u00fc \u4e2d");
}

TEST(AnswerStream, RefusesAnEventWithoutEnd) {
  AnswerStream answer(Operation::kChat, 0, {});
  const std::string piece(1 << 20, 'x');
  Result<std::string> last = answer.feed("data: ");
  for (int i = 0; i < 17 && last; ++i) last = answer.feed(piece);
  ASSERT_FALSE(last.has_value());
  EXPECT_EQ(last.error().fault, Fault::kWorld);
}

// Mutations of what services send: nothing may crash, and what isn't understood goes on as it came.
TEST(AnswerStream, SurvivesMutatedStreams) {
  std::mt19937 random(3);
  for (const auto& [operation, stream] : recorded()) {
    for (int round = 0; round < 2500; ++round) {
      std::string mutated = stream;
      for (std::size_t i = random() % 6 + 1; i > 0; --i) {
        const std::size_t at = random() % mutated.size();
        switch (random() % 4) {
          case 0: mutated[at] = static_cast<char>(random()); break;
          case 1: mutated.erase(at, random() % 20); break;
          case 2: mutated.insert(at, std::string(mutated, random() % mutated.size(), random() % 60)); break;
          default: mutated[at] = "\"\\{}[]:,0\n"[random() % 10];
        }
      }
      const std::string_view view = mutated;
      const std::size_t split = random() % (mutated.size() + 1);
      const Sent plain = sent(operation, {view.substr(0, split), view.substr(split)}, keeping());
      ASSERT_TRUE(mutated.starts_with(plain.bytes));
      const Sent changed = sent(operation, {view.substr(0, split), view.substr(split)}, everything());
      ASSERT_EQ(changed.bytes, sent(operation, {view}, everything()).bytes);
      AnswerStream body(operation, 0, everything());
      body.whole(mutated);
      const std::size_t from = mutated.find('{');
      if (from != std::string::npos) body.whole(view.substr(from, view.find('\n', from) - from));
      body.facts();
    }
  }
}

TEST(AnswerStream, ReadsUsageOfAnswersThatAreNotGenerated) {
  AnswerStream answer(Operation::kEmbeddings, 0, everything());
  const std::string body =
      R"({"object":"list","data":[{"embedding":[0.1]}],"usage":{"prompt_tokens":8,"total_tokens":8}})";
  EXPECT_EQ(answer.whole(body), body);
  EXPECT_EQ(answer.facts().usage.input, 8);
  EXPECT_TRUE(answer.facts().usage.reported);
}

}  // namespace
}  // namespace retort::api
