#include "provider/json_answer.h"

#include <gtest/gtest.h>

#include <string>

namespace retort::provider {
namespace {

// The quick reader and the library's own say the same of everything, errors included.
TEST(JsonAnswerTest, IsReadAsTheLibraryReadsIt) {
  const std::string deep = std::string(3000, '[') + std::string(3000, ']');
  for (const std::string& text :
       {std::string(
            R"({"id":"c","n":[1,-2,3.5,1e300,0,-0.0,18446744073709551615,-9223372036854775808],"t":true,"x":null})"),
        std::string(R"({"a":1,"a":2})"), std::string(R"("half a character \ud83d")"),
        std::string(R"("\u00e9 \ud83d\ude00")"), std::string(R"([123456789012345678901234567890])"),
        std::string("{\"a\":"), std::string("{} x"), std::string(), std::string(" \n[ ]"), std::string("\"\xff\""),
        std::string("nul"), deep}) {
    const Json expected = Json::parse(text, nullptr, false);
    const Json found = parsed_answer(text);
    EXPECT_EQ(found.is_discarded(), expected.is_discarded()) << text.substr(0, 80);
    if (!expected.is_discarded()) {
      EXPECT_EQ(found.dump(), expected.dump()) << text.substr(0, 80);
    }
  }
  EXPECT_TRUE(parsed_answer("[1]")[0].is_number_unsigned());
}

}  // namespace
}  // namespace retort::provider
