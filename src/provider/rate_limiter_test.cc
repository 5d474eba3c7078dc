#include "provider/rate_limiter.h"

#include <gtest/gtest.h>

namespace retort::provider {
namespace {

TEST(RateLimiterTest, WithoutLimitsNothingWaits) {
  RateLimiter limiter(0, 0);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(limiter.wait_s(0, 1e6), 0);
    limiter.start(0, 1e6);
  }
}

TEST(RateLimiterTest, RequestsAreSpreadOverTheMinute) {
  RateLimiter limiter(60, 0);
  double now_s = 100;
  int started = 0;
  while (now_s < 220) {
    const double wait_s = limiter.wait_s(now_s, 1);
    if (wait_s > 0) {
      now_s += wait_s;
      continue;
    }
    limiter.start(now_s, 1);
    ++started;
  }
  EXPECT_GE(started, 116);
  EXPECT_LE(started, 120 + 3);
}

TEST(RateLimiterTest, WhatWasPredictedWrongIsPaidBack) {
  RateLimiter limiter(0, 6000);  // 100 a second
  limiter.start(0, 10);
  limiter.finish(0, 10, 1000);
  EXPECT_GT(limiter.wait_s(0, 10), 5);
  limiter.finish(0, 1000, 10);
  EXPECT_EQ(limiter.wait_s(0, 10), 0);
}

TEST(RateLimiterTest, ARequestLargerThanTheBucketStillGoes) {
  RateLimiter limiter(0, 60);
  EXPECT_EQ(limiter.wait_s(0, 1e6), 0);
  limiter.start(0, 1e6);
  EXPECT_GT(limiter.wait_s(1, 1), 1e5);
}

TEST(RateLimiterTest, AServiceMayLowerALimitAndNeverRaiseTheUsers) {
  RateLimiter limiter(0, 6000);
  ToldLimits told;
  told.tokens.limit = 1e6;
  limiter.told(0, told);
  EXPECT_EQ(limiter.tokens_per_minute(), 6000);
  told.tokens.limit = 600;
  limiter.told(0, told);
  EXPECT_EQ(limiter.tokens_per_minute(), 600);
  told.tokens.remaining = 0;
  limiter.told(0, told);
  EXPECT_GT(limiter.wait_s(0, 10), 0.5);
}

TEST(RateLimiterTest, NothingStartsWhileBlocked) {
  RateLimiter limiter(0, 0);
  limiter.block_until(10);
  limiter.block_until(5);
  EXPECT_EQ(limiter.wait_s(4, 1), 6);
  EXPECT_EQ(limiter.wait_s(11, 1), 0);
}

}  // namespace
}  // namespace retort::provider
