#include "policy/limits.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "base/random.h"

namespace retort::policy {
namespace {

constexpr NanoUsd kDollar = 1'000'000'000;

TEST(LimitBook, LetsPassWhatAMinuteHoldsAndSaysWhenToComeAgain) {
  LimitBook book;
  Limits limits;
  limits.requests_per_minute = 60;
  for (int i = 0; i < 60; ++i) EXPECT_EQ(book.admit("a", limits, 0, 0, {1, 0}).refused_by, LimitKind::kNone) << i;
  const Admission refused = book.admit("a", limits, 0, 0, {1, 0});
  EXPECT_EQ(refused.refused_by, LimitKind::kRequests);
  EXPECT_NEAR(refused.retry_after_s, 1, 1e-9);
  EXPECT_EQ(book.admit("b", limits, 0, 0, {1, 0}).refused_by, LimitKind::kNone);
  EXPECT_EQ(book.admit("a", limits, 0, 0, {2.001, 0}).refused_by, LimitKind::kNone);
  EXPECT_EQ(book.admit("a", limits, 0, 0, {2.001, 0}).refused_by, LimitKind::kRequests);
  EXPECT_EQ(book.admit("a", limits, 0, 0, {1.5, 0}).refused_by, LimitKind::kRequests) << "a clock that went back";
}

TEST(LimitBook, WhatAnAccountWithoutLimitsSpendsIsCounted) {
  LimitBook book;
  Admission held = book.admit("a", {}, 100, kDollar, {1, 0});
  EXPECT_EQ(book.money("a", 0).reserved, kDollar);
  EXPECT_EQ(held.reservation.settle(70, kDollar / 4), 0);
  EXPECT_EQ(book.money("a", 0).settled, kDollar / 4);
  EXPECT_EQ(book.money("a", 0).reserved, 0);
  EXPECT_TRUE(book.take_used(0).empty()) << "it has no buckets that others would have to know of";
}

TEST(LimitBook, SettlesTheDifferenceOfTokens) {
  LimitBook book;
  Limits limits;
  limits.tokens_per_minute = 1000;
  Admission first = book.admit("a", limits, 100, 0, {0, 0});
  first.reservation.settle(1600, 0);  // 600 below zero
  const Admission refused = book.admit("a", limits, 100, 0, {0, 0});
  EXPECT_EQ(refused.refused_by, LimitKind::kTokens);
  EXPECT_NEAR(refused.retry_after_s, 700.0 * 60 / 1000, 1e-9);
  Admission second = book.admit("a", limits, 100, 0, {43, 0});
  EXPECT_EQ(second.refused_by, LimitKind::kNone);
  second.reservation.cancel();
  EXPECT_EQ(book.admit("a", limits, 100, 0, {43, 0}).refused_by, LimitKind::kNone);
  EXPECT_EQ(book.admit("c", limits, 5000, 0, {0, 0}).refused_by, LimitKind::kNone) << "larger than the bucket";
}

TEST(LimitBook, MoneyIsReservedSettledOnceAndOfItsDay) {
  LimitBook book;
  Limits limits;
  limits.usd_per_day = 1;
  const std::int64_t noon = 43'200'000;
  {
    Admission held = book.admit("a", limits, 0, kDollar * 6 / 10, {0, noon});
    EXPECT_EQ(book.admit("a", limits, 0, kDollar / 2, {0, noon}).refused_by, LimitKind::kMoney);
    EXPECT_EQ(held.reservation.settle(0, kDollar / 10), 0);
    EXPECT_EQ(held.reservation.settle(0, kDollar / 10), 0) << "a second time does nothing";
  }
  EXPECT_EQ(book.money("a", 0).settled, kDollar / 10);
  EXPECT_EQ(book.money("a", 0).reserved, 0);
  { const Admission dropped = book.admit("a", limits, 0, kDollar / 10, {0, noon}); }
  EXPECT_EQ(book.money("a", 0).settled, kDollar * 2 / 10) << "what is dropped counts at its worst case";
  Admission over = book.admit("a", limits, 0, kDollar * 8 / 10, {0, noon});
  EXPECT_EQ(over.reservation.settle(0, kDollar), kDollar * 2 / 10);
  const Admission refused = book.admit("a", limits, 0, 1, {0, noon});
  EXPECT_EQ(refused.refused_by, LimitKind::kMoney);
  EXPECT_NEAR(refused.retry_after_s, 43'200, 1e-6);
  EXPECT_EQ(book.admit("a", limits, 0, kDollar, {0, noon * 2}).refused_by, LimitKind::kNone) << "the next day";
  book.restore("b", 0, kDollar);
  EXPECT_EQ(book.admit("b", limits, 0, 1, {0, noon}).refused_by, LimitKind::kMoney);
}

// 200 callers on one budget: settled + reserved never passes it, and nothing stays reserved.
TEST(LimitBook, HoldsTheBudgetUnderManyCallersAtOnce) {
  LimitBook book;
  Limits limits;
  limits.usd_per_day = 0.5;
  const NanoUsd budget = kDollar / 2;
  std::atomic<bool> broken = false;
  std::vector<std::thread> callers;
  std::atomic<std::int64_t> paid = 0;
  for (int t = 0; t < 200; ++t) {
    callers.emplace_back([&, t] {
      Random random(static_cast<std::uint64_t>(t));
      for (int i = 0; i < 200; ++i) {
        const auto worst = static_cast<NanoUsd>(random.below(100'000));
        Admission admission = book.admit("org", limits, 0, worst, {0, 0});
        const MoneyState state = book.money("org", 0);
        if (state.settled + state.reserved > budget) broken = true;
        if (admission.refused_by != LimitKind::kNone) continue;
        const auto cost = static_cast<NanoUsd>(random.below(static_cast<std::uint64_t>(worst) + 1));
        if (i % 7 == 0) {
          paid += worst;  // dropped
        } else {
          admission.reservation.settle(0, cost);
          paid += cost;
        }
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_FALSE(broken);
  EXPECT_EQ(book.money("org", 0).reserved, 0);
  EXPECT_EQ(book.money("org", 0).settled, paid);
  EXPECT_LE(paid, budget);
}

class FixedShare final : public BudgetShare {
 public:
  std::optional<NanoUsd> allowance(const std::string& /*account*/, std::int64_t /*day*/, NanoUsd /*budget*/,
                                   NanoUsd used, NanoUsd wanted) override {
    asked_used = used;
    asked_wanted = wanted;
    return allowed;
  }
  std::optional<NanoUsd> allowed;
  NanoUsd asked_used = 0;
  NanoUsd asked_wanted = 0;
};

TEST(LimitBook, SpendsNoMoreThanItsShareOfABudget) {
  LimitBook book;
  FixedShare share;
  book.share(&share);
  Limits limits;
  limits.usd_per_day = 10;
  EXPECT_EQ(book.admit("a", limits, 0, kDollar, {0, 0}).refused_by, LimitKind::kUnavailable);
  share.allowed = 2 * kDollar;
  Admission first = book.admit("a", limits, 0, kDollar, {0, 0});
  EXPECT_EQ(first.refused_by, LimitKind::kNone);
  const Admission second = book.admit("a", limits, 0, kDollar, {0, 0});
  EXPECT_EQ(second.refused_by, LimitKind::kNone);
  EXPECT_EQ(share.asked_used, kDollar);
  EXPECT_EQ(share.asked_wanted, kDollar);
  EXPECT_EQ(book.admit("a", limits, 0, kDollar, {0, 0}).refused_by, LimitKind::kMoney);
  share.allowed = 20 * kDollar;
  limits.usd_per_day = 2;
  EXPECT_EQ(book.admit("a", limits, 0, kDollar, {0, 0}).refused_by, LimitKind::kMoney) << "nor more than the budget";
  NanoUsd seen = 0;
  book.visit_money("a", 0, [&](const MoneyState& money) { seen = money.reserved; });
  EXPECT_EQ(seen, 2 * kDollar);
}

TEST(LimitBook, TellsWhatPassedAndTakesWhatOthersLetPass) {
  LimitBook book;
  Limits limits;
  limits.requests_per_minute = 60;
  limits.tokens_per_minute = 1000;
  Admission first = book.admit("a", limits, 100, 0, {5, 0});
  first.reservation.settle(150, 0);
  const auto used = book.take_used(0);
  ASSERT_EQ(used.size(), 1U);
  EXPECT_EQ(used[0].requests, 1);
  EXPECT_EQ(used[0].tokens, 150);
  EXPECT_EQ(book.take_used(0).at(0).requests, 0) << "each use is told once";
  EXPECT_TRUE(book.take_used(6).empty()) << "accounts that nobody used of late are not told of";
  book.charge({"a", 59, 0});
  EXPECT_EQ(book.admit("a", limits, 0, 0, {5, 0}).refused_by, LimitKind::kRequests);
  book.charge({"a", 1'000'000, 0});
  EXPECT_NEAR(book.admit("a", limits, 0, 0, {5, 0}).retry_after_s, 61, 1e-6) << "a debt of a minute, not of days";
  book.charge({"nobody", 1, 1});
}

}  // namespace
}  // namespace retort::policy
