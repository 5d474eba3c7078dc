// Against a real redis-server, on a Unix socket of its own.
#include "sharing/shared_limits.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <thread>

#include "base/random.h"

namespace retort::sharing {
namespace {

using policy::LimitBook;
using policy::LimitKind;
using policy::NanoUsd;

constexpr NanoUsd kCent = 10'000'000;

class SharedLimitsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists("/usr/bin/redis-server"))
      GTEST_SKIP() << "there is no redis-server (Debian's package)";
    socket_ = std::filesystem::temp_directory_path() / ("retort_redis_" + std::to_string(::getpid()) + ".sock");
    std::signal(SIGPIPE, SIG_IGN);  // as the program does
    start();
  }
  void TearDown() override {
    stop();
    std::filesystem::remove(socket_);
  }

  void start() {
    const std::string path = socket_.string();
    std::vector<std::string> words = {"/usr/bin/redis-server", "--port", "0", "--unixsocket", path, "--save", ""};
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
    ASSERT_EQ(posix_spawn(&process_, arguments[0], &files, nullptr, arguments.data(), environ), 0);
    posix_spawn_file_actions_destroy(&files);
    const SystemClock clock;
    for (int i = 0; i < 500; ++i) {
      RedisLink link(*RedisAddress::parse("unix:" + path), clock);
      if (link.ask({{"PING"}})) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    FAIL() << "redis-server does not answer";
  }
  void stop() {
    if (process_ <= 0) return;
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
    process_ = 0;
  }
  std::unique_ptr<SharedLimits> shared(LimitBook& book, const std::string& id) {
    return std::make_unique<SharedLimits>(*RedisAddress::parse("unix:" + socket_.string()), id, book, clock_,
                                          [](const std::string&) {});
  }
  LimitBook::Moment now() const { return {clock_.monotonic_s(), clock_.unix_ms()}; }

  const SystemClock clock_;
  std::filesystem::path socket_;
  pid_t process_ = 0;
};

// What is committed is added after it was and taken off before it is, so that the sum is never above the truth.
TEST_F(SharedLimitsTest, ABudgetHoldsAtEveryInstantOverSeveralGuards) {
  std::array<LimitBook, 3> books;
  std::vector<std::unique_ptr<SharedLimits>> guards;
  for (std::size_t i = 0; i < books.size(); ++i) guards.push_back(shared(books[i], "guard" + std::to_string(i)));
  policy::Limits limits;
  limits.usd_per_day = 2;
  constexpr NanoUsd kBudget = 200 * kCent;
  std::atomic<NanoUsd> committed = 0;
  std::atomic<NanoUsd> most = 0;
  std::atomic<int> passed = 0;
  std::vector<std::thread> callers;
  for (std::size_t caller = 0; caller < 24; ++caller) {
    callers.emplace_back([&, caller] {
      Random random(caller);
      for (int i = 0; i < 40; ++i) {
        const auto worst = static_cast<NanoUsd>(1 + random.next() % 9) * kCent;
        auto admitted = books[caller % books.size()].admit("acme", limits, 0, worst, now());
        if (admitted.refused_by != LimitKind::kNone) continue;
        const NanoUsd sum = committed.fetch_add(worst) + worst;
        for (NanoUsd seen = most; seen < sum && !most.compare_exchange_weak(seen, sum);) {
        }
        ++passed;
        const NanoUsd cost = worst / 8;
        committed.fetch_sub(worst - cost);
        admitted.reservation.settle(0, cost);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_LE(most, kBudget);
  EXPECT_GT(passed, 50);
  NanoUsd settled = 0;
  for (const LimitBook& book : books) {
    const policy::MoneyState money = book.money("acme", LimitBook::day_of(now().unix_ms));
    settled += money.settled;
    EXPECT_EQ(money.reserved, 0);
  }
  EXPECT_EQ(settled, committed);
  EXPECT_LE(settled, kBudget);
}

TEST_F(SharedLimitsTest, AGuardThatEndsGivesBackWhatItDidNotSpend) {
  LimitBook first_book, second_book;
  policy::Limits limits;
  limits.usd_per_day = 1;
  auto first = shared(first_book, "first");
  {
    auto admitted = first_book.admit("acme", limits, 0, 90 * kCent, now());
    ASSERT_EQ(admitted.refused_by, LimitKind::kNone);
    admitted.reservation.settle(0, 10 * kCent);
  }
  auto second = shared(second_book, "second");
  EXPECT_EQ(second_book.admit("acme", limits, 0, 50 * kCent, now()).refused_by, LimitKind::kMoney);
  first.reset();
  std::this_thread::sleep_for(std::chrono::milliseconds(150));  // it asks no more often for what it didn't get
  auto admitted = second_book.admit("acme", limits, 0, 90 * kCent, now());
  EXPECT_EQ(admitted.refused_by, LimitKind::kNone);
  EXPECT_EQ(second_book.admit("acme", limits, 0, kCent, now()).refused_by, LimitKind::kMoney);
}

TEST_F(SharedLimitsTest, WithoutRedisWhatWasGrantedMayBeSpentAndNoMore) {
  LimitBook book;
  auto guard = shared(book, "one");
  policy::Limits limits;
  limits.usd_per_day = 1;  // granted in slices of 5 cents
  EXPECT_EQ(book.admit("acme", limits, 0, 2 * kCent, now()).refused_by, LimitKind::kNone);
  EXPECT_TRUE(guard->standing().connected);
  EXPECT_EQ(guard->standing().leases, 1U);
  EXPECT_EQ(guard->standing().granted, 5 * kCent);
  stop();
  EXPECT_EQ(book.admit("acme", limits, 0, 3 * kCent, now()).refused_by, LimitKind::kNone);
  EXPECT_EQ(book.admit("acme", limits, 0, kCent, now()).refused_by, LimitKind::kUnavailable);
  EXPECT_EQ(book.admit("other", limits, 0, kCent, now()).refused_by, LimitKind::kUnavailable);
  EXPECT_FALSE(guard->standing().connected);
}

TEST_F(SharedLimitsTest, RatesOfOthersAreTakenFromOnesOwn) {
  LimitBook first_book, second_book;
  auto first = shared(first_book, "first");
  auto second = shared(second_book, "second");
  policy::Limits limits;
  limits.requests_per_minute = 10;
  ASSERT_EQ(second_book.admit("acme", limits, 0, 0, now()).refused_by, LimitKind::kNone);
  for (int i = 0; i < 9; ++i)
    ASSERT_EQ(first_book.admit("acme", limits, 0, 0, now()).refused_by, LimitKind::kNone) << i;
  LimitKind refused = LimitKind::kNone;
  for (int i = 0; i < 100 && refused == LimitKind::kNone; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    refused = second_book.admit("acme", limits, 0, 0, now()).refused_by;
    ASSERT_LT(i, 5) << "the other's nine were never told";
  }
  EXPECT_EQ(refused, LimitKind::kRequests);
}

}  // namespace
}  // namespace retort::sharing
