#include "tokens/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/random.h"
#include "base/text.h"
#include "gguf/testing.h"
#include "gguf/writer.h"

namespace retort::tokens {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class TokenizerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::temp_directory_path() /
            ("retort-tokenizer-" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()) +
             std::to_string(::getpid()) + ".gguf");
    ASSERT_TRUE(gguf::testing::write_tiny_model(path_, {.weights = false}));
  }
  void TearDown() override { std::filesystem::remove(path_); }

  // The tiny vocabulary with one key changed.
  Result<Tokenizer> changed(const std::string& key, gguf::Value value) {
    gguf::Metadata metadata = gguf::testing::tiny_vocabulary();
    metadata.set("general.architecture", std::string("llama"));
    metadata.set(key, std::move(value));
    EXPECT_TRUE(gguf::Writer(metadata).write(path_));
    return Tokenizer::load(path_);
  }

  std::filesystem::path path_;
};

TEST_F(TokenizerTest, ExactBytesInAndOut) {
  const auto tokenizer = Tokenizer::load(path_);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->vocabulary(), static_cast<std::size_t>(gguf::testing::tiny_vocabulary_size()));
  for (const std::string text :
       {"", " ", "hello", "  hello\n\n", "\ttabs and\r\n lines ", "é 漢字 🦙", "a<|im_end|>b"}) {
    const auto ids = tokenizer->encode(text);
    ASSERT_TRUE(ids);
    EXPECT_EQ(tokenizer->decode(*ids), text);
  }
  const std::string nul("a\0b", 3);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(nul).value()), nul);
}

TEST_F(TokenizerTest, SpecialTokensAreParsedOnlyWhenAsked) {
  const auto tokenizer = Tokenizer::load(path_);
  const auto as_text = tokenizer->encode("<|im_end|>", SpecialTokens::kAsText);
  EXPECT_GT(as_text->size(), 3U);
  EXPECT_THAT(*as_text, ::testing::Not(::testing::Contains(2)));
  EXPECT_THAT(*tokenizer->encode("<|im_end|>", SpecialTokens::kParse), ElementsAre(2));
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{2}), "");
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{2}, true), "<|im_end|>");
  EXPECT_EQ(tokenizer->special_id("<|im_start|>"), 1);
  EXPECT_FALSE(tokenizer->special_id("hello").has_value());
}

TEST_F(TokenizerTest, BosAndEosAsTheFileSays) {
  const auto without = Tokenizer::load(path_);
  EXPECT_FALSE(without->adds_bos());
  EXPECT_EQ(without->encode("hello", SpecialTokens::kAsText, true).value(), without->encode("hello").value());
  const auto with = changed("tokenizer.ggml.add_bos_token", true);
  ASSERT_TRUE(with) << with.error().message;
  EXPECT_TRUE(with->adds_bos());
  EXPECT_EQ(with->encode("hello", SpecialTokens::kAsText, true)->front(), 1);
  EXPECT_NE(with->encode("hello", SpecialTokens::kAsText, false)->front(), 1);
  EXPECT_EQ(with->bos(), 1);
  EXPECT_EQ(with->eos(), 2);
}

TEST_F(TokenizerTest, EndIdsAndFingerprint) {
  const auto tokenizer = Tokenizer::load(path_);
  EXPECT_THAT(tokenizer->end_ids(), ElementsAre(0, 2));
  EXPECT_TRUE(tokenizer->is_end(2));
  EXPECT_FALSE(tokenizer->is_end(1));
  EXPECT_TRUE(tokenizer->is_control(1));
  EXPECT_FALSE(tokenizer->is_control(50));
  const Digest fingerprint = tokenizer->fingerprint();
  EXPECT_EQ(changed("general.name", std::string("other name"))->fingerprint(), fingerprint);
  EXPECT_NE(changed("tokenizer.ggml.eos_token_id", std::uint32_t{0})->fingerprint(), fingerprint);
  EXPECT_NE(changed("tokenizer.ggml.merges", std::vector<std::string>{"h e"})->fingerprint(), fingerprint);
}

TEST_F(TokenizerTest, StreamingPiecesJoinToTheText) {
  const auto tokenizer = Tokenizer::load(path_);
  const std::string text = "crème 🦙";
  std::string joined;
  const auto ids = tokenizer->encode(text).value();
  for (const TokenId id : ids) joined += tokenizer->piece(id);
  EXPECT_EQ(joined, text);
  EXPECT_EQ(tokenizer->piece(-1), "");
  EXPECT_EQ(tokenizer->piece(1 << 20), "");
}

TEST_F(TokenizerTest, BrokenVocabulariesAreRefusedNotAborted) {
  EXPECT_THAT(changed("tokenizer.ggml.pre", std::string("no-such-pretokenizer")).error().message,
              HasSubstr("no-such-pretokenizer"));
  EXPECT_FALSE(changed("tokenizer.ggml.tokens", std::vector<std::string>{"a", "a"}));
  EXPECT_FALSE(changed("tokenizer.ggml.token_type", std::vector<std::int32_t>{3, 3}));
  EXPECT_FALSE(changed("tokenizer.ggml.scores", std::vector<float>{0.5F}));
  EXPECT_FALSE(changed("tokenizer.ggml.merges", std::uint32_t{7}));
  EXPECT_FALSE(changed("tokenizer.ggml.bos_token_id", std::string("one")));
  EXPECT_FALSE(changed("tokenizer.ggml.model", std::string("none")));
  EXPECT_FALSE(changed("general.architecture", std::uint32_t{3}));
  // Out of range: llama.cpp falls back, and must not crash when asked to add it.
  const auto bos = changed("tokenizer.ggml.bos_token_id", std::uint32_t{1U << 30U});
  if (bos) {
    EXPECT_TRUE(bos->encode("hello", SpecialTokens::kAsText, true));
  }
}

TEST_F(TokenizerTest, AnyArchitecture) {
  ASSERT_TRUE(gguf::testing::write_tiny_model(path_, {.weights = false, .architecture = "qwen2"}));
  EXPECT_TRUE(Tokenizer::load(path_));
}

TEST_F(TokenizerTest, RandomBytesNeverCrash) {
  const auto tokenizer = Tokenizer::load(path_);
  Random random(3);
  for (int i = 0; i < 300; ++i) {
    std::string text;
    for (std::uint64_t n = random.below(60); n > 0; --n) text += static_cast<char>(random.below(256));
    const auto ids = tokenizer->encode(text, SpecialTokens::kAsText, true);
    if (!ids) {
      // llama.cpp refuses what would be a code point beyond U+10FFFF.
      EXPECT_EQ(ids.error().fault, Fault::kCaller);
      EXPECT_FALSE(is_valid_utf8(text));
      continue;
    }
    if (is_valid_utf8(text)) {
      EXPECT_EQ(tokenizer->decode(*ids), text);
    }
  }
}

TEST_F(TokenizerTest, TheTeachersOwnTokens) {
  const std::filesystem::path teacher = RETORT_MODELS_DIR "/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!std::filesystem::exists(teacher)) GTEST_SKIP() << teacher << " isn't there; run `make setup` to fetch it";
  const auto tokenizer = Tokenizer::load(teacher);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->vocabulary(), 49152U);
  EXPECT_THAT(tokenizer->end_ids(), ::testing::IsSupersetOf({0, 2}));
  const std::string text = "  Distil with permission.\n\nNotice: 12345 é🦙 ";
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(text).value()), text);
  // Re-tokenising what a model sampled need not give its ids: "hel" + "lo" is one token when written by a person.
  const auto hello = tokenizer->encode("hello");
  auto sampled = tokenizer->encode("hel").value();
  const auto rest = tokenizer->encode("lo").value();
  sampled.insert(sampled.end(), rest.begin(), rest.end());
  EXPECT_EQ(tokenizer->decode(sampled), "hello");
  EXPECT_NE(sampled, *hello);
}

}  // namespace
}  // namespace retort::tokens
