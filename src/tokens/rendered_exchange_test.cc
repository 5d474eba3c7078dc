#include "tokens/rendered_exchange.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "gguf/testing.h"

namespace retort::tokens {
namespace {

using ::testing::HasSubstr;

class RenderedExchangeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::temp_directory_path() / ("retort-rendered-" + std::to_string(::getpid()) + ".gguf");
    ASSERT_TRUE(gguf::testing::write_tiny_model(path_, {.weights = false}));
    format_.emplace(ChatFormat::load(path_).value());
    exchange_.prompt.messages = {{Role::kUser, "hello you"}};
    exchange_.completion = {"hello the user", FinishReason::kEnd};
  }
  void TearDown() override { std::filesystem::remove(path_); }

  TokenizedConversation tokens(std::size_t context = 1024) {
    const auto made = with_rendered_tokens(exchange_, *format_, context);
    EXPECT_TRUE(made) << made.error().message;
    return made->tokens;
  }
  std::string answer(const TokenizedConversation& tokens) {
    const TokenSpan& span = tokens.spans.back();
    EXPECT_EQ(span.kind, SpanKind::kAssistant);
    return format_->tokenizer().decode(std::span(tokens.ids).subspan(span.begin, span.end - span.begin), true);
  }

  std::filesystem::path path_;
  std::optional<ChatFormat> format_;
  Exchange exchange_;
};

TEST_F(RenderedExchangeTest, AnAnswerThatEndedHasItsEnd) {
  const TokenizedConversation made = tokens();
  EXPECT_EQ(answer(made), "hello the user<|im_end|>");
  EXPECT_EQ(made.tokenizer_fingerprint, format_->tokenizer().fingerprint());
  for (const TokenSpan& span : made.spans) EXPECT_FALSE(span.sampled);
  // What an answer follows is the prompt to the last token.
  const std::vector<TokenId> prompt = format_->prompt_ids(exchange_.prompt).value();
  ASSERT_EQ(made.spans.back().begin, prompt.size());
  EXPECT_TRUE(std::equal(prompt.begin(), prompt.end(), made.ids.begin()));
  EXPECT_EQ(made, tokens());
}

TEST_F(RenderedExchangeTest, NoEndIsInventedForOneThatWasCut) {
  for (const FinishReason reason : {FinishReason::kLength, FinishReason::kFiltered}) {
    exchange_.completion.finish_reason = reason;
    const TokenizedConversation made = tokens();
    EXPECT_EQ(answer(made), "hello the user");
    EXPECT_EQ(made.spans.back().end, made.ids.size());
  }
  exchange_.completion.finish_reason = FinishReason::kUnknown;
  EXPECT_EQ(answer(tokens()), "hello the user<|im_end|>");
}

TEST_F(RenderedExchangeTest, WhatTheModelCannotReadIsLeftOff) {
  const std::size_t whole = tokens().ids.size();
  const TokenizedConversation made = tokens(whole - 3);
  EXPECT_EQ(made.ids.size(), whole - 3);
  EXPECT_EQ(made.spans.back().end, whole - 3);
}

TEST_F(RenderedExchangeTest, AnAnswerHasTheTokensThatWereDrawn) {
  const std::string ids_of_text = answer(tokens());
  const std::size_t rendered = tokens().ids.size();
  exchange_.completion.text = "hello";
  exchange_.completion.logprobs =
      R"([{"logprob":-1,"token":"h"},{"logprob":-1,"token":"e"},{"logprob":-1,"token":"l"},{"logprob":-1,"token":"l"},)"
      R"({"logprob":-1,"token":"o"}])";
  const TokenizedConversation made = tokens();
  EXPECT_EQ(answer(made), "hello<|im_end|>");
  EXPECT_TRUE(made.spans.back().sampled);
  EXPECT_EQ(made.spans.back().end - made.spans.back().begin, 6U);
  // One that was cut has no end; one whose service tells the end has one.
  exchange_.completion.finish_reason = FinishReason::kLength;
  EXPECT_EQ(answer(tokens()), "hello");
  exchange_.completion.finish_reason = FinishReason::kEnd;
  exchange_.completion.logprobs.back() = ',';
  exchange_.completion.logprobs += R"({"logprob":-1,"token":"<|im_end|>"}])";
  EXPECT_EQ(answer(tokens()), "hello<|im_end|>");
  // Tokens that aren't the text's are another answer's.
  exchange_.completion.text = "hello the user";
  EXPECT_EQ(answer(tokens()), ids_of_text);
  EXPECT_EQ(tokens().ids.size(), rendered);
}

TEST_F(RenderedExchangeTest, TokensThatWereCollectedStay) {
  exchange_.tokens.ids = {1, 2, 3};
  EXPECT_EQ(tokens(), exchange_.tokens);
}

TEST_F(RenderedExchangeTest, ToolsAreRefused) {
  exchange_.prompt.tools = R"([{"type":"function"}])";
  const auto made = with_rendered_tokens(exchange_, *format_, 1024);
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().message, HasSubstr("tools"));
}

}  // namespace
}  // namespace retort::tokens
