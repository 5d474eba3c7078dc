#include "guard/spending_restored.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/json.h"
#include "evidence/exchange_records.h"
#include "evidence/spool.h"

namespace retort::guard {
namespace {

constexpr std::int64_t kDay_ms = 86'400'000;
constexpr std::int64_t kToday = 20'000;
constexpr std::int64_t kNow_ms = kToday * kDay_ms + 5000;

class SpendingRestoredTest : public ::testing::Test {
 public:
  ~SpendingRestoredTest() override {
    spool.reset();
    std::filesystem::remove_all(folder);
  }
  std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("retort-spending-restored-" + std::to_string(getpid()));
  SystemClock clock;
  std::unique_ptr<evidence::Spool> open() const {
    evidence::SpoolOptions options;
    options.folder = folder;
    return evidence::Spool::open(std::move(options), clock).value();
  }
  std::unique_ptr<evidence::Spool> spool = open();

  void admit(const std::string& id, bool batch, policy::NanoUsd reserved, std::int64_t days_ago = 0) {
    evidence::AdmissionRecord record;
    record.id = id;
    record.account = "acme";
    record.batch = batch;
    record.reserved_nano_usd = reserved;
    record.time_unix_ms = kNow_ms - days_ago * kDay_ms;
    std::string text;
    evidence::append_json(record, text);
    ASSERT_TRUE(spool->append(evidence::Kind::kAdmission, text, {}));
  }
  void complete(const std::string& id, policy::NanoUsd cost) {
    evidence::CompletionRecord record;
    record.id = id;
    record.nano_usd = cost;
    record.time_unix_ms = kNow_ms;
    std::string text;
    evidence::append_json(record, text);
    ASSERT_TRUE(spool->append(evidence::Kind::kCompletion, text, {}));
  }
  void settle(const std::string& id, policy::NanoUsd cost) {
    const Json act = {{"act", kBatchSettled}, {"exchange", id}, {"nano_usd", std::to_string(cost)}};
    ASSERT_TRUE(spool->append(evidence::Kind::kAct, canonical_json(act), {}));
  }
};

TEST_F(SpendingRestoredTest, BatchesStayReservedUntilTheirBillIsRecorded) {
  admit("single", false, 50);
  complete("single", 20);
  admit("killed", false, 7);
  admit("upload", true, 0);
  complete("upload", 0);
  admit("awaited", true, 1000);
  complete("awaited", 1000);
  admit("billed", true, 2000);
  complete("billed", 2000);
  settle("billed", 300);
  admit("billed before its answer went out", true, 4000);
  settle("billed before its answer went out", 0);
  complete("billed before its answer went out", 4000);
  admit("refused by upstream", true, 8000);
  complete("refused by upstream", 0);
  admit("killed while it was made", true, 16'000);
  admit("of yesterday", true, 32'000, 1);
  complete("of yesterday", 32'000);
  admit("billed, of yesterday", true, 64'000, 1);
  settle("billed, of yesterday", 64'000);
  admit("of long ago", true, 128'000, kMostAwaited_days + 1);
  settle("nobody's", 5);
  policy::LimitBook limits;
  const auto restored = restore_spending(folder, kNow_ms, limits);
  ASSERT_TRUE(restored) << restored.error().message;
  EXPECT_EQ(limits.money("acme", kToday).settled, 20 + 7 + 300);
  EXPECT_EQ(restored->unsettled, 1U);
  std::map<std::string, std::pair<std::int64_t, policy::NanoUsd>> batches;
  for (const AwaitedBatch& batch : restored->batches) batches[batch.exchange] = {batch.day, batch.reserved};
  const std::map<std::string, std::pair<std::int64_t, policy::NanoUsd>> expected = {
      {"awaited", {kToday, 1000}},
      {"killed while it was made", {kToday, 16'000}},
      {"of yesterday", {kToday - 1, 32'000}}};
  EXPECT_EQ(batches, expected);
}

}  // namespace
}  // namespace retort::guard
