#include "sharing/redis_link.h"

#include <gtest/gtest.h>

namespace retort::sharing {
namespace {

TEST(RedisAddress, ReadsUrlsAndSockets) {
  const auto plain = RedisAddress::parse("redis://127.0.0.1:6380/2");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->host, "127.0.0.1");
  EXPECT_EQ(plain->port, 6380);
  EXPECT_EQ(plain->database, 2);
  EXPECT_EQ(RedisAddress::parse("redis://[::1]")->host, "::1");
  EXPECT_EQ(RedisAddress::parse("redis://[::1]:7000")->port, 7000);
  EXPECT_EQ(RedisAddress::parse("unix:/run/redis.sock")->path, "/run/redis.sock");
}

TEST(RedisAddress, RefusesWhatIsNone) {
  for (const char* text : {"", "127.0.0.1:6379", "redis://", "redis://:secret@host", "redis://host:port",
                           "redis://host/x", "redis://host:0", "unix:relative", "rediss://host"}) {
    EXPECT_FALSE(RedisAddress::parse(text)) << text;
  }
}

TEST(RedisLink, FailsAtOnceForAWhileWhenNobodyIsThere) {
  ManualClock clock;
  RedisLink link(*RedisAddress::parse("unix:/nonexistent/redis.sock"), clock);
  const auto first = link.ask({{"PING"}});
  ASSERT_FALSE(first);
  EXPECT_EQ(first.error().fault, Fault::kWorld);
  EXPECT_NE(link.ask({{"PING"}}).error().message.find("a moment ago"), std::string::npos);
  clock.advance_s(1.5);
  EXPECT_EQ(link.ask({{"PING"}}).error().message, first.error().message);
}

}  // namespace
}  // namespace retort::sharing
