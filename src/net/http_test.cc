#include "net/http.h"

#include <gtest/gtest.h>

#include "net/sse.h"

namespace retort::net {
namespace {

TEST(HttpTest, FieldsAreFoundWithoutRegardToCase) {
  Headers headers;
  headers.add("Content-Type", "a");
  headers.add("content-type", "b");
  EXPECT_EQ(headers.find("CONTENT-TYPE"), "a");
  EXPECT_EQ(headers.find("Content"), std::nullopt);
}

TEST(HttpTest, PercentIsDecoded) {
  EXPECT_EQ(percent_decode("a%2Fb%20c"), "a/b c");
  EXPECT_EQ(percent_decode("%41"), "A");
  EXPECT_EQ(percent_decode(""), "");
  for (const char* wrong : {"%", "%4", "a%g1", "%1g"}) EXPECT_FALSE(percent_decode(wrong)) << wrong;
}

TEST(HttpTest, AnEventIsALineForEachLine) {
  EXPECT_EQ(sse_event("[DONE]"), "data: [DONE]\n\n");
  EXPECT_EQ(sse_event("a\r\nb"), "data: a\ndata: b\n\n");
}

}  // namespace
}  // namespace retort::net
