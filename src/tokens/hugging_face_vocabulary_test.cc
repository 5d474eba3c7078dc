#include "tokens/hugging_face_vocabulary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace retort::tokens {
namespace {

using ::testing::HasSubstr;

gguf::Metadata vocabulary(std::vector<std::string> tokens) {
  gguf::Metadata metadata;
  metadata.set("tokenizer.ggml.tokens", std::move(tokens));
  return metadata;
}

TEST(HuggingFaceVocabulary, ComparesIdById) {
  const Json tokenizer = {{"model", {{"type", "BPE"}, {"vocab", {{"a", 0}, {"b", 1}, {"Ġc", 2}}}}},
                          {"added_tokens", {{{"id", 3}, {"content", "<|end|>"}}}}};
  const auto refusal = [&](std::vector<std::string> tokens) {
    const auto checked = check_same_vocabulary(vocabulary(std::move(tokens)), tokenizer, "t");
    return checked ? std::string("same") : checked.error().message;
  };
  EXPECT_EQ(refusal({"a", "b", "Ġc", "<|end|>"}), "same");
  EXPECT_EQ(refusal({"a", "b", "Ġc", "<|end|>", "[PAD4]", "[PAD5]"}), "same");
  EXPECT_THAT(refusal({"b", "a", "Ġc", "<|end|>"}), HasSubstr("token 0 is 'a', the teacher's is 'b'"));
  EXPECT_THAT(refusal({"a", "b", "Ġc"}), HasSubstr("token 3 is '<|end|>', the teacher's is '(none)'"));
  EXPECT_THAT(refusal({"a", "b", "Ġc", "<|end|>", "more"}), HasSubstr("token 4 is '(none)', the teacher's is 'more'"));
}

TEST(HuggingFaceVocabulary, ReadsUnigramsAndRefusesOtherForms) {
  const Json unigram = {
      {"model",
       {{"type", "Unigram"}, {"vocab", Json::array({Json::array({"<unk>", 0.0}), Json::array({"a", -1.5})})}}}};
  EXPECT_TRUE(check_same_vocabulary(vocabulary({"<unk>", "a"}), unigram, "t"));
  EXPECT_FALSE(check_same_vocabulary(vocabulary({"a", "<unk>"}), unigram, "t"));
  for (const Json& other : {Json::array(), Json::object(), Json({{"model", {{"vocab", 3}}}}),
                            Json({{"model", {{"vocab", {{"a", "b"}}}}}})}) {
    EXPECT_THAT(check_same_vocabulary(vocabulary({"a"}), other, "t").error().message,
                HasSubstr("isn't a tokenizer.json"));
  }
}

}  // namespace
}  // namespace retort::tokens
