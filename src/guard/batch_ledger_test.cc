#include "guard/batch_ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "guard/open_batches.h"

namespace retort::guard {
namespace {

using ::testing::ElementsAre;

constexpr std::int64_t kDay = 20'000;
constexpr std::int64_t kNow_ms = kDay * 86'400'000;

api::Usage usage(std::int64_t input, std::int64_t output) {
  api::Usage counted;
  counted.input = input;
  counted.output = output;
  return counted;
}

class BatchLedgerTest : public ::testing::Test {
 public:
  ~BatchLedgerTest() override { std::filesystem::remove_all(folder); }
  std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("retort-batch-ledger-" + std::to_string(getpid()));
  std::unique_ptr<BatchLedger> open() const { return BatchLedger::open(folder / "batches.sqlite").value(); }
  // One that settles whatever it may.
  static std::vector<std::string> settle(OpenBatches& batches, bool may = true) {
    std::vector<std::string> settled;
    EXPECT_TRUE(batches.settle([&](const BatchBill&) { return may; },
                               [&](const BatchBill& bill, policy::NanoUsd over) {
                                 settled.push_back(bill.batch.exchange + " " + std::to_string(bill.cost) + " " +
                                                   std::to_string(over));
                               }));
    return settled;
  }
  policy::LimitBook book;
};

TEST_F(BatchLedgerTest, IsBilledOnce) {
  const auto ledger = open();
  ASSERT_TRUE(ledger->made({"b1", "x1", "acme", {2, 1, 3, 10}}, 7));
  EXPECT_EQ(ledger->awaiting("b1").value(), "b1");
  EXPECT_FALSE(ledger->awaiting("file-o").value());
  ASSERT_TRUE(ledger->answers_in("b1", "file-o"));
  ASSERT_TRUE(ledger->answers_in("b0", "file-p"));
  EXPECT_EQ(ledger->awaiting("file-o").value(), "b1");
  EXPECT_FALSE(ledger->bill("b0", usage(1, 1)).value());
  EXPECT_TRUE(ledger->bill("b1", usage(5, 2)).value());
  EXPECT_FALSE(open()->bill("b1", usage(50, 20)).value()) << "also by another guard";
  EXPECT_FALSE(ledger->awaiting("file-o").value());
  const auto bills = open()->bills_after(0).value();
  ASSERT_EQ(bills.size(), 1U);
  EXPECT_EQ(bills[0].batch.exchange, "x1");
  EXPECT_EQ(bills[0].cost, 30);
  EXPECT_EQ(bills[0].usage.output, 2);
  EXPECT_TRUE(ledger->bills_after(1).value().empty());
}

TEST_F(BatchLedgerTest, WhoHoldsItSettlesItOnceWhoeverSawTheBill) {
  const auto ledger = open();
  const auto other = open();
  OpenBatches batches(*ledger);
  for (const char* exchange : {"x1", "x2"}) batches.hold(exchange, book.hold("acme", kDay, 100));
  ASSERT_TRUE(ledger->made({"b1", "x1", "acme", {2, 1, 3, 10}}, kNow_ms));
  ASSERT_TRUE(ledger->made({"b2", "x2", "acme", {2, 1, 3, 10}}, kNow_ms));
  ASSERT_TRUE(ledger->made({"b3", "of another guard", "acme", {2, 1, 3, 10}}, kNow_ms));
  EXPECT_EQ(book.money("acme", kDay).reserved, 200);
  EXPECT_THAT(settle(batches), ElementsAre());
  for (const char* id : {"b3", "b2"}) ASSERT_TRUE(other->bill(id, usage(5, 2)).value());
  EXPECT_THAT(settle(batches, false), ElementsAre()) << "its record could not be kept";
  EXPECT_EQ(book.money("acme", kDay).reserved, 200);
  EXPECT_THAT(settle(batches), ElementsAre("x2 30 0"));
  EXPECT_THAT(settle(batches), ElementsAre());
  EXPECT_EQ(book.money("acme", kDay).reserved, 100);
  EXPECT_EQ(book.money("acme", kDay).settled, 30);
  ASSERT_TRUE(ledger->bill("b1", usage(50, 2)).value());
  EXPECT_THAT(settle(batches), ElementsAre("x1 120 20"));
  EXPECT_EQ(book.money("acme", kDay).reserved, 0);
  EXPECT_EQ(book.money("acme", kDay).settled, 150);
  EXPECT_EQ(batches.held(), 0U);
}

TEST_F(BatchLedgerTest, AfterDaysNobodysBudgetChanges) {
  const auto ledger = open();
  OpenBatches batches(*ledger);
  batches.hold("x1", book.hold("acme", kDay, 100));
  ASSERT_TRUE(ledger->made({"b1", "x1", "acme", {2, 1, 3, 10}}, kNow_ms));
  static_cast<void>(book.admit("acme", {}, 0, 0, {0, kNow_ms + 3 * 86'400'000LL}));
  ASSERT_TRUE(ledger->bill("b1", usage(5, 2)).value());
  EXPECT_THAT(settle(batches), ElementsAre("x1 30 0"));
  EXPECT_EQ(book.money("acme", kDay).reserved, 0);
  EXPECT_EQ(book.money("acme", kDay).settled, 0);
}

}  // namespace
}  // namespace retort::guard
