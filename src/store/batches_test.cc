#include "store/batches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

namespace retort::store {
namespace {

class BatchesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) / ("retort_batches_" + std::to_string(getpid()));
    std::filesystem::remove_all(folder_);
    open();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void open() {
    batches_.reset();
    ledger_.reset();
    store_.emplace(*ExchangeStore::open(folder_ / "store.sqlite"));
    ledger_.emplace(*Ledger::open(*store_));
    batches_.emplace(*ledger_);
  }
  static std::vector<Reservation> reservations(const std::string& job, std::int64_t from, std::int64_t count) {
    std::vector<Reservation> all;
    for (std::int64_t slot = from; slot < from + count; ++slot) {
      all.push_back({{job, slot}, 0, sha256("request"), "http://a/v1", 1000, 10, 20, 300});
    }
    return all;
  }

  std::filesystem::path folder_;
  std::optional<ExchangeStore> store_;
  std::optional<Ledger> ledger_;
  std::optional<Batches> batches_;
};

TEST_F(BatchesTest, WhatIsUnderWayIsFoundAgainWithItsLines) {
  ASSERT_TRUE(ledger_->reserve(reservations("job", 90, 2)));
  const auto first = batches_->begin("first", reservations("job", 0, 3));
  const auto second = batches_->begin("second", reservations("job", 3, 2));
  const auto other = batches_->begin("other", reservations("another", 0, 2));
  ASSERT_TRUE(first && second && other);
  ASSERT_TRUE(batches_->note(*first, kBatchUploaded, "file-1", 1));
  ASSERT_TRUE(batches_->note(*first, kBatchSent, "batch-1", 2));
  ASSERT_TRUE(batches_->note(*first, kBatchSent, "batch-2", 3)) << "the first stands";
  open();
  const auto found = batches_->under_way("job");
  ASSERT_TRUE(found);
  ASSERT_EQ(found->size(), 2U);
  EXPECT_EQ((*found)[0].name, "first");
  EXPECT_EQ((*found)[0].file, "file-1");
  EXPECT_EQ((*found)[0].id, "batch-1");
  EXPECT_EQ((*found)[0].endpoint, "http://a/v1");
  EXPECT_EQ((*found)[0].requests(), 3);
  EXPECT_EQ((*found)[1].id, "");
  EXPECT_TRUE(*batches_->knows("batch-1"));
  EXPECT_FALSE(*batches_->knows("batch-2"));

  auto lines = *batches_->open_lines(found->front());
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines.at(1).output_tokens, 20);
  EXPECT_EQ(lines.at(1).nano_usd, 300);
  const Settlement settled{
      .reservation = lines.at(1).reservation, .at_unix_ms = 5, .status = 200, .outcome = "answered"};
  ASSERT_TRUE(ledger_->settle(std::span(&settled, 1)));
  lines = *batches_->open_lines(found->front());
  EXPECT_EQ(lines.size(), 2U);
  EXPECT_FALSE(lines.contains(1));
  EXPECT_EQ(ledger_->totals()->open_attempts, 2 + 3 + 2 + 2 - 1);

  ASSERT_TRUE(batches_->note(found->front(), kBatchEnded, "completed", 6));
  EXPECT_EQ(batches_->under_way("job")->size(), 1U);
  const auto all = *batches_->under_way_of_others("");
  EXPECT_EQ(all.size(), batches_->under_way("job")->size() + batches_->under_way_of_others("job")->size());
  ASSERT_EQ(batches_->under_way_of_others("job")->size(), 1U);
  EXPECT_THAT(*batches_->under_way("job"),
              ::testing::Not(::testing::Contains(
                  ::testing::Field(&BatchRecord::name, batches_->under_way_of_others("job")->front().name))));
}

TEST_F(BatchesTest, ReconcilingGivesThemUp) {
  ASSERT_TRUE(batches_->begin("first", reservations("job", 0, 3)));
  EXPECT_EQ(*ledger_->reconcile(true, 9), 3);
  EXPECT_TRUE(batches_->under_way("job")->empty());
  EXPECT_EQ(ledger_->totals()->nano_usd, 900);
}

TEST_F(BatchesTest, ANameIsGivenOnceAndAFailedBeginningReservesNothing) {
  ASSERT_TRUE(batches_->begin("first", reservations("job", 0, 3)));
  EXPECT_FALSE(batches_->begin("first", reservations("job", 3, 3)));
  EXPECT_EQ(ledger_->totals()->open_attempts, 3);
}

}  // namespace
}  // namespace retort::store
