#include "tokens/answer_tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/json.h"
#include "exchange/told_tokens.h"
#include "gguf/testing.h"

namespace retort::tokens {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

class AnswerTokensTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::temp_directory_path() / ("retort-answer-tokens-" + std::to_string(::getpid()) + ".gguf");
    ASSERT_TRUE(gguf::testing::write_tiny_model(path_, {.weights = false}));
    tokenizer_.emplace(Tokenizer::load(path_).value());
    ids_ = tokenizer_->encode("hello the user").value();
    for (const TokenId id : ids_) told_.push_back({tokenizer_->piece(id), -0.5, {}});
    completion_.text = "hello the user";
  }
  void TearDown() override { std::filesystem::remove(path_); }

  std::optional<std::vector<AnswerToken>> read() {
    Json json = Json::array();
    for (const ToldToken& token : told_) json.push_back(to_json(token));
    completion_.logprobs = canonical_json(json);
    return answer_tokens(completion_, *tokenizer_);
  }
  static std::vector<TokenId> ids_of(const std::vector<AnswerToken>& tokens) {
    std::vector<TokenId> ids;
    for (const AnswerToken& token : tokens) ids.push_back(token.id);
    return ids;
  }

  std::filesystem::path path_;
  std::optional<Tokenizer> tokenizer_;
  std::vector<TokenId> ids_;
  std::vector<ToldToken> told_;
  Completion completion_;
};

TEST_F(AnswerTokensTest, AreTheIdsThatWereDrawn) {
  const auto tokens = read();
  ASSERT_TRUE(tokens);
  EXPECT_EQ(ids_of(*tokens), ids_);
  EXPECT_DOUBLE_EQ(tokens->front().logprob, -0.5);
}

// The same text in other tokens: the ids are the teacher's, not those of the text.
TEST_F(AnswerTokensTest, AreNotTokenisedAgain) {
  const std::vector<ToldToken> whole = told_;
  told_.clear();
  for (const char letter : completion_.text) told_.push_back({std::string(1, letter), -1, {}});
  const auto tokens = read();
  ASSERT_TRUE(tokens);
  EXPECT_EQ(tokens->size(), completion_.text.size());
  EXPECT_NE(ids_of(*tokens), ids_);
}

TEST_F(AnswerTokensTest, TheLikeliestAreThoseThatAreTokensHere) {
  told_.front().likeliest = {
      {told_.front().bytes, -0.5}, {told_.back().bytes, -2}, {"no such token", -3}, {"<|im_end|>", -4}};
  const auto tokens = read();
  ASSERT_TRUE(tokens);
  const TokenId end = tokenizer_->special_id("<|im_end|>").value();
  EXPECT_THAT(tokens->front().likeliest,
              ElementsAre(Pair(ids_.front(), -0.5), Pair(ids_.back(), -2.0), Pair(end, -4.0)));
}

TEST_F(AnswerTokensTest, TheEndOfTurnMayBeTold) {
  told_.push_back({"<|im_end|>", -0.1, {}});
  const auto tokens = read();
  ASSERT_TRUE(tokens);
  EXPECT_EQ(tokens->back().id, tokenizer_->special_id("<|im_end|>"));
  told_.push_back(told_.front());  // an end within an answer is none
  EXPECT_FALSE(read());
}

TEST_F(AnswerTokensTest, AreNoneWhereTheyAreAnotherTokenizers) {
  told_.front().bytes = "hello the";  // no token here
  told_.erase(told_.begin() + 1);
  EXPECT_FALSE(read());
  told_.clear();
  EXPECT_FALSE(read());
}

// A character that was cut is left off by one service and shown as U+FFFD by another.
TEST_F(AnswerTokensTest, BytesThatAreNoTextMayBeShownInAnyWay) {
  const std::string part = "\xC3";
  ASSERT_TRUE(tokenizer_->id_with_bytes(part));
  told_.push_back({part, -1, {}});
  EXPECT_TRUE(read());
  completion_.text += "\xEF\xBF\xBD";
  EXPECT_TRUE(read());
  completion_.text += "!";
  EXPECT_FALSE(read());
}

TEST_F(AnswerTokensTest, AreNoneWhereTheyAreNotTheText) {
  completion_.text += " you";
  EXPECT_FALSE(read());
}

}  // namespace
}  // namespace retort::tokens
