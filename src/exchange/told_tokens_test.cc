#include "exchange/told_tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"

namespace retort {
namespace {

TEST(ToldTokens, AreReadAsTheyWereWritten) {
  const std::vector<ToldToken> tokens = {
      {"so", -0.5, {}}, {" é", -1.25, {{" é", -1.25}, {"\xE2\x80", -2}}}, {"\xF0\x9F", -3, {}}};
  Json json = Json::array();
  for (const ToldToken& token : tokens) json.push_back(to_json(token));
  Completion completion;
  completion.logprobs = canonical_json(json);
  const auto read = told_tokens(completion);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, tokens);
  EXPECT_EQ(completion.logprobs.find("\xEF\xBF\xBD"), std::string::npos) << "bytes became U+FFFD";
}

TEST(ToldTokens, AreNoneWhereNothingWasTold) { EXPECT_TRUE(told_tokens({}).value().empty()); }

TEST(ToldTokens, RefusesWhatIsNone) {
  Completion completion;
  for (const char* text :
       {"{", "{}", "[1]", R"([{"token":"a"}])", R"([{"token":7,"logprob":-1}])", R"([{"token":[300],"logprob":-1}])",
        R"([{"token":"a","logprob":-1,"top":[["b"]]}])", R"([{"token":"a","logprob":-1,"top":3}])"}) {
    completion.logprobs = text;
    EXPECT_FALSE(told_tokens(completion)) << text;
  }
}

}  // namespace
}  // namespace retort
