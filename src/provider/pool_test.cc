#include "provider/pool.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace retort::provider {
namespace {

Verdict verdict(Verdict::Kind kind, bool congested = false) {
  Verdict made;
  made.kind = kind;
  made.congested = congested;
  return made;
}
const Verdict kAnswered = verdict(Verdict::Kind::kAnswered);
const Verdict kBusy = verdict(Verdict::Kind::kRetry, true);
const Verdict kFailed = verdict(Verdict::Kind::kRetry);

std::size_t fill(Pool& pool, double now_s) {
  std::size_t started = 0;
  while (const auto endpoint = pool.choose(now_s, 1).endpoint) {
    pool.start(*endpoint, now_s, 1);
    ++started;
  }
  return started;
}

TEST(PoolTest, TheWindowGrowsWhileItIsAnsweredAndShrinksOncePerRound) {
  Pool pool({{"a", "", 0, 0}}, {.concurrency = 32, .requests_per_minute = 0, .tokens_per_minute = 0, .seed = 1});
  double now_s = 0;
  for (int round = 0; round < 5; ++round) {
    const std::size_t started = fill(pool, now_s);
    now_s += 1;
    for (std::size_t i = 0; i < started; ++i) pool.finish(0, now_s, 1, 1, 1, kAnswered, {});
  }
  EXPECT_EQ(fill(pool, now_s), 32U) << "never beyond the concurrency asked for";
  now_s += 1;
  for (int i = 0; i < 32; ++i) pool.finish(0, now_s, 1, 1, 1, kBusy, {});
  EXPECT_NEAR(pool.window(0), 32 * 0.7, 1e-9);
  EXPECT_EQ(pool.in_flight(), 0U);
}

TEST(PoolTest, RequestsGoWhereThereIsRoom) {
  Pool pool({{"a", "", 0, 0}, {"b", "", 0, 0}},
            {.concurrency = 8, .requests_per_minute = 0, .tokens_per_minute = 0, .seed = 1});
  std::multiset<std::size_t> chosen;
  while (const auto endpoint = pool.choose(0, 1).endpoint) {
    pool.start(*endpoint, 0, 1);
    chosen.insert(*endpoint);
  }
  EXPECT_EQ(chosen.count(0), 4U);
  EXPECT_EQ(chosen.count(1), 4U);
}

TEST(PoolTest, AnEndpointThatFailsRestsAndTheOtherWorks) {
  Pool pool({{"a", "", 0, 0}, {"b", "", 0, 0}},
            {.concurrency = 8, .requests_per_minute = 0, .tokens_per_minute = 0, .seed = 1});
  for (int i = 0; i < 6; ++i) {
    pool.start(0, i, 1);
    pool.finish(0, i, 1, 0, 1, kFailed, {});
  }
  for (int i = 0; i < 4; ++i) {
    const auto choice = pool.choose(5.1, 1);
    ASSERT_TRUE(choice.endpoint);
    EXPECT_EQ(*choice.endpoint, 1U);
    pool.start(1, 5.1, 1);
  }
  const auto choice = pool.choose(5.1, 1);
  EXPECT_FALSE(choice.endpoint);
  EXPECT_GT(choice.wait_s, 0);
  EXPECT_EQ(*pool.choose(40, 1).endpoint, 0U);
}

TEST(PoolTest, AnEndpointsOwnLimitIsItsOwn) {
  Pool pool({{"a", "", 60, 0}, {"b", "", 0, 0}},
            {.concurrency = 100, .requests_per_minute = 0, .tokens_per_minute = 0, .seed = 1});
  for (int i = 0; i < 10; ++i) {
    if (const auto choice = pool.choose(0, 1); choice.endpoint == std::optional<std::size_t>(0)) {
      pool.start(0, 0, 1);
      pool.finish(0, 0, 1, 1, 1, kAnswered, {});
    }
  }
  EXPECT_EQ(*pool.choose(0, 1).endpoint, 1U);
}

TEST(PoolTest, BackoffGrowsIsJitteredAndNeverEarlierThanAsked) {
  Pool pool({{"a", "", 0, 0}}, {.concurrency = 1, .requests_per_minute = 0, .tokens_per_minute = 0, .seed = 1});
  std::set<double> seen;
  for (int failures = 1; failures < 20; ++failures) {
    for (int i = 0; i < 50; ++i) {
      const double wait_s = pool.backoff_s(failures, {});
      EXPECT_GE(wait_s, 0);
      EXPECT_LE(wait_s, std::min(60.0, 0.5 * std::pow(2.0, failures - 1)));
      seen.insert(wait_s);
    }
  }
  EXPECT_GT(seen.size(), 900U);
  ToldLimits told;
  told.retry_after_s = 7;
  for (int i = 0; i < 50; ++i) EXPECT_GE(pool.backoff_s(1, told), 7);
}

}  // namespace
}  // namespace retort::provider
