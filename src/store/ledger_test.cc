#include "store/ledger.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

namespace retort::store {
namespace {

class LedgerTest : public ::testing::Test {
 protected:
  LedgerTest()
      : path_(std::filesystem::temp_directory_path() / ("retort_ledger_" + std::to_string(getpid()) + ".sqlite")) {
    remove();
  }
  ~LedgerTest() override { remove(); }
  void remove() const {
    for (const char* end : {"", "-wal", "-shm"}) std::filesystem::remove(path_.string() + end);
  }
  static Reservation reservation(std::int64_t slot) {
    return {{"job", slot}, 0, sha256("request " + std::to_string(slot)), "http://h/v1", 5, 100, 50, 1000};
  }
  static Settlement settlement(std::int64_t number) { return {number, 6, 200, "answered", 80, 20, 5, 300}; }
  std::filesystem::path path_;
};

TEST_F(LedgerTest, WhatIsReservedCountsUntilItIsSettled) {
  auto store = ExchangeStore::open(path_);
  auto ledger = Ledger::open(*store);
  ASSERT_TRUE(ledger);
  EXPECT_EQ(*ledger->totals(), Totals());
  const std::vector<Reservation> three = {reservation(0), reservation(1), reservation(2)};
  const auto numbers = ledger->reserve(three);
  ASSERT_TRUE(numbers);
  EXPECT_EQ(ledger->totals()->reserved_tokens, 450);
  EXPECT_EQ(ledger->totals()->reserved_nano_usd, 3000);
  ASSERT_TRUE(ledger->settle(std::vector{settlement((*numbers)[1])}));
  const Totals totals = *ledger->totals();
  EXPECT_EQ(totals.attempts, 3);
  EXPECT_EQ(totals.answered, 1);
  EXPECT_EQ(totals.input_tokens, 80);
  EXPECT_EQ(totals.nano_usd, 300);
  EXPECT_EQ(totals.open_attempts, 2);
  EXPECT_EQ(totals.reserved_nano_usd, 2000);
}

TEST_F(LedgerTest, ALineIsSettledOnceAndNeverChanged) {
  auto store = ExchangeStore::open(path_);
  auto ledger = Ledger::open(*store);
  const auto numbers = ledger->reserve(std::vector{reservation(0)});
  ASSERT_TRUE(ledger->settle(std::vector{settlement(numbers->front())}));
  EXPECT_FALSE(ledger->settle(std::vector{settlement(numbers->front())}));
  EXPECT_EQ(ledger->totals()->nano_usd, 300);
}

TEST_F(LedgerTest, ItIsStillThereAfterwardsAndOldStoresGetOne) {
  { ASSERT_TRUE(ExchangeStore::open(path_)); }  // a store without a ledger
  {
    auto store = ExchangeStore::open(path_);
    auto ledger = Ledger::open(*store);
    ASSERT_TRUE(ledger->reserve(std::vector{reservation(0)}));
  }
  auto store = ExchangeStore::open(path_);
  auto ledger = Ledger::open(*store);
  EXPECT_EQ(ledger->totals()->open_attempts, 1);
  EXPECT_TRUE(store->verify()->problems.empty());
}

TEST_F(LedgerTest, TogetherIsAllOrNothing) {
  auto store = ExchangeStore::open(path_);
  auto ledger = Ledger::open(*store);
  const auto numbers = ledger->reserve(std::vector{reservation(0)});
  Exchange exchange;
  exchange.prompt = {{{Role::kUser, "q"}}};
  exchange.completion.text = "a";
  const auto failed = store->together([&]() -> Result<void> {
    RETORT_TRY(ledger->settle(std::vector{settlement(numbers->front())}));
    const auto added = store->add(exchange, Slot{"job", 0});
    EXPECT_TRUE(added);
    return world_error("The disk is full.");
  });
  EXPECT_FALSE(failed);
  EXPECT_EQ(*store->count(), 0);
  EXPECT_EQ(ledger->totals()->open_attempts, 1);
}

TEST_F(LedgerTest, APersonSettlesWhatACrashLeft) {
  auto store = ExchangeStore::open(path_);
  auto ledger = Ledger::open(*store);
  ASSERT_TRUE(ledger->reserve(std::vector{reservation(0), reservation(1)}));
  EXPECT_EQ(*ledger->reconcile(true, 9), 2);
  EXPECT_EQ(ledger->totals()->nano_usd, 2000);
  EXPECT_EQ(ledger->totals()->open_attempts, 0);
  ASSERT_TRUE(ledger->reserve(std::vector{reservation(2)}));
  EXPECT_EQ(*ledger->reconcile(false, 9), 1);
  EXPECT_EQ(ledger->totals()->nano_usd, 2000);
}

}  // namespace
}  // namespace retort::store
