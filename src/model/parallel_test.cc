#include "model/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "model/compute_probe.h"

namespace retort::model {
namespace {

class Parallel : public testing::Test {
 protected:
  Parallel() : before_(compute_threads()) { set_compute_threads(2); }
  ~Parallel() override { set_compute_threads(before_); }

 private:
  int before_;
};

// Each of two waits for the other: one thread alone would wait until its patience ends.
TEST_F(Parallel, TwoThreadsWorkAtOnce) {
  std::atomic<int> arrived = 0, together = 0;
  parallel_for(0, 2, 1, [&](std::int64_t, std::int64_t) {
    ++arrived;
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (arrived < 2 && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    if (arrived == 2) ++together;
  });
  EXPECT_EQ(together, 2);
}

TEST_F(Parallel, EveryPartIsDoneOnce) {
  for (const std::int64_t count : {0, 1, 2, 7, 64, 1001}) {
    for (const std::int64_t grain : {0, 1, 3, 500, 5000}) {
      std::vector<int> done(static_cast<std::size_t>(count) + 3);
      parallel_for(3, 3 + count, grain, [&](std::int64_t first, std::int64_t last) {
        EXPECT_LT(first, last);
        EXPECT_LT(parallel_thread(), 2);
        for (std::int64_t i = first; i < last; ++i) ++done[static_cast<std::size_t>(i)];
      });
      for (std::int64_t i = 0; i < count + 3; ++i) EXPECT_EQ(done[static_cast<std::size_t>(i)], i < 3 ? 0 : 1);
    }
  }
}

TEST_F(Parallel, WithinAnotherTheCallingThreadDoesAll) {
  std::atomic<int> calls = 0;
  parallel_for(0, 2, 1, [&](std::int64_t, std::int64_t) {
    const auto self = std::this_thread::get_id();
    parallel_for(0, 10, 1, [&](std::int64_t first, std::int64_t last) {
      ++calls;
      EXPECT_EQ(std::this_thread::get_id(), self);
      EXPECT_EQ(last - first, 10);
    });
  });
  EXPECT_EQ(calls, 2);
}

TEST_F(Parallel, WhatIsThrownArrives) {
  for (const std::int64_t thrower : {0, 9}) {
    EXPECT_THROW(parallel_for(0, 10, 1,
                              [&](std::int64_t first, std::int64_t last) {
                                if (first <= thrower && thrower < last) throw std::runtime_error("no");
                              }),
                 std::runtime_error);
  }
}

TEST_F(Parallel, OneThreadIsTheCallingOne) {
  set_compute_threads(1);
  const auto self = std::this_thread::get_id();
  parallel_for(0, 100, 1, [&](std::int64_t first, std::int64_t last) {
    EXPECT_EQ(std::this_thread::get_id(), self);
    EXPECT_EQ(last - first, 100);
  });
}

}  // namespace
}  // namespace retort::model
