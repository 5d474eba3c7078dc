#include "provider/limit_headers.h"

#include <gtest/gtest.h>

namespace retort::provider {
namespace {

net::Headers headers(std::initializer_list<net::Headers::Field> fields) {
  net::Headers all;
  for (const auto& field : fields) all.add(field.name, field.value);
  return all;
}

TEST(LimitHeadersTest, DurationsAreReadAsOpenAiWritesThem) {
  EXPECT_DOUBLE_EQ(duration_s("12ms").value(), 0.012);
  EXPECT_DOUBLE_EQ(duration_s("6m0s").value(), 360);
  EXPECT_DOUBLE_EQ(duration_s("1h2m3.5s").value(), 3723.5);
  EXPECT_DOUBLE_EQ(duration_s("20").value(), 20);
  for (const char* text : {"", "soon", "5x", "m5", "-3s", "1e", "5 s", "nan", "inf"}) {
    EXPECT_FALSE(duration_s(text)) << text;
  }
}

TEST(LimitHeadersTest, TimesAreReadAsAnthropicAndHttpWriteThem) {
  EXPECT_EQ(time_ms("1970-01-01T00:01:00Z"), 60'000);
  EXPECT_EQ(time_ms("1970-01-01T00:01:00.250Z"), 60'000);
  EXPECT_EQ(time_ms("1970-01-01T02:00:00+01:30"), 1'800'000);
  EXPECT_EQ(time_ms("Thu, 01 Jan 1970 00:00:10 GMT"), 10'000);
  EXPECT_FALSE(time_ms("tomorrow"));
  EXPECT_FALSE(time_ms("1970-01-01T00:01:00"));
}

TEST(LimitHeadersTest, BothFamiliesOfNames) {
  const ToldLimits openai = told_limits(headers({{"x-ratelimit-limit-requests", "500"},
                                                 {"x-ratelimit-remaining-requests", "499"},
                                                 {"x-ratelimit-reset-requests", "120ms"},
                                                 {"x-ratelimit-limit-tokens", "30000"},
                                                 {"x-ratelimit-remaining-tokens", "29000"},
                                                 {"x-ratelimit-reset-tokens", "2s"}}),
                                        0);
  EXPECT_EQ(openai.requests.limit, 500);
  EXPECT_EQ(openai.tokens.remaining, 29000);
  EXPECT_EQ(openai.tokens.reset_s, 2);
  const ToldLimits anthropic = told_limits(headers({{"anthropic-ratelimit-tokens-limit", "80000"},
                                                    {"anthropic-ratelimit-tokens-remaining", "0"},
                                                    {"anthropic-ratelimit-tokens-reset", "1970-01-01T00:00:30Z"}}),
                                           10'000);
  EXPECT_EQ(anthropic.tokens.limit, 80000);
  EXPECT_EQ(anthropic.tokens.reset_s, 20);
}

TEST(LimitHeadersTest, RetryAfterInItsThreeForms) {
  EXPECT_EQ(told_limits(headers({{"retry-after", "7"}}), 0).retry_after_s, 7);
  EXPECT_EQ(told_limits(headers({{"Retry-After", "Thu, 01 Jan 1970 00:00:30 GMT"}}), 10'000).retry_after_s, 20);
  EXPECT_EQ(told_limits(headers({{"retry-after", "7"}, {"retry-after-ms", "250"}}), 0).retry_after_s, 0.25);
  EXPECT_EQ(told_limits(headers({{"x-should-retry", "false"}}), 0).should_retry, false);
  EXPECT_EQ(told_limits(headers({{"x-should-retry", "True"}}), 0).should_retry, true);
  EXPECT_FALSE(told_limits(headers({{"x-should-retry", "maybe"}}), 0).should_retry);
}

}  // namespace
}  // namespace retort::provider
