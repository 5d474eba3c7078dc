// A child that appends is killed at random moments: what append() returned for is there, and the chain goes on.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "base/random.h"
#include "evidence/spool_for_test.h"

namespace retort::evidence {
namespace {

namespace fs = std::filesystem;

// Appends until killed, and tells each number only once append() returned.
[[noreturn]] void append_and_tell(const fs::path& folder, int pipe_end, std::uint64_t number) {
  const SystemClock clock;
  SpoolOptions options = small_spool(folder);
  options.segment_bytes = 64U << 10U;
  options.head_every_records = 50;
  auto spool = Spool::open(options, clock);
  if (!spool) std::_Exit(3);
  while (true) {
    // Now and then a record of many pages, whose write the kill may tear.
    const std::string attachment(number % 16 == 0 ? 100000 : 100, 'p');
    if (!(*spool)->append(Kind::kAct, act_text(number), attachment)) std::_Exit(4);
    if (::write(pipe_end, &number, sizeof(number)) != sizeof(number)) std::_Exit(5);
    ++number;
  }
}

TEST(Crash, WhatWasAcknowledgedSurvivesSigkill) {
  const fs::path folder = empty_folder("crash");
  Random random(20261126);
  std::uint64_t next = 0;
  const char* rounds = std::getenv("RETORT_CRASH_ROUNDS");
  const int kRounds = rounds != nullptr ? std::atoi(rounds) : 25;
  for (int round = 0; round < kRounds; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::close(ends[0]);
      append_and_tell(folder, ends[1], next);
    }
    ::close(ends[1]);
    std::uint64_t acknowledged = next;  // one more than the last number told
    std::uint64_t number = 0;
    const auto kill_at = std::chrono::steady_clock::now() + std::chrono::microseconds(3000 + random.below(30000));
    bool alive = true;
    while (::read(ends[0], &number, sizeof(number)) == sizeof(number)) {
      acknowledged = number + 1;
      if (alive && std::chrono::steady_clock::now() >= kill_at) {
        ::kill(child, SIGKILL);
        alive = false;
      }
    }
    ::close(ends[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself with " << WEXITSTATUS(status);

    const SystemClock clock;
    {
      auto spool = Spool::open(small_spool(folder), clock);
      ASSERT_TRUE(spool) << spool.error().message;
    }
    const VerifyReport report = verified(folder);
    ASSERT_TRUE(report.holds) << report.walked.broken->sentence;
    std::uint64_t seen = 0;
    walk(folder, [&](const RecordView& record) -> Result<void> {
      if (record.kind != Kind::kAct) return {};
      EXPECT_EQ(record.text, act_text(seen));
      ++seen;
      return {};
    }).value();
    ASSERT_GE(seen, acknowledged) << "round " << round;
    ASSERT_LE(seen, acknowledged + 1);  // the last may have been written and not told
    next = seen;
  }
  EXPECT_GT(next, 100U);
  fs::remove_all(folder);
}

}  // namespace
}  // namespace retort::evidence
