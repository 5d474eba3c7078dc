#include "evidence/spool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "evidence/spool_for_test.h"

namespace retort::evidence {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::vector<std::string> acts_in(const fs::path& folder) {
  std::vector<std::string> texts;
  walk(folder, [&](const RecordView& record) -> Result<void> {
    if (record.kind == Kind::kAct) texts.emplace_back(record.text);
    return {};
  }).value();
  return texts;
}

TEST(Spool, KeepsRecordsInOrderOverSegmentsAndRestarts) {
  const fs::path folder = empty_folder("order");
  const SystemClock clock;
  std::vector<std::string> written;
  std::uint64_t last = 0;
  for (int round = 0; round < 3; ++round) {
    auto spool = Spool::open(small_spool(folder), clock);
    ASSERT_TRUE(spool) << spool.error().message;
    for (int i = 0; i < 40; ++i) {
      written.push_back(act_text(written.size()));
      const auto sequence = (*spool)->append(Kind::kAct, written.back(), {});
      ASSERT_TRUE(sequence) << sequence.error().message;
      EXPECT_GT(*sequence, last);
      last = *sequence;
    }
  }
  EXPECT_EQ(acts_in(folder), written);
  const VerifyReport report = verified(folder);
  EXPECT_TRUE(report.holds);
  EXPECT_TRUE(report.closed_in_order);
  EXPECT_EQ(report.unsigned_records, 0U);
  EXPECT_GT(report.walked.segments, 5U);
  EXPECT_EQ(report.walked.first_sequence, 1U);
  EXPECT_EQ(report.walked.records, report.walked.last_sequence);
}

TEST(Spool, ARecordIsInTheFileWhenAppendReturnsAndSyncedSoonAfter) {
  const fs::path folder = empty_folder("synced");
  const SystemClock clock;
  std::atomic<std::uint64_t> told = 0;
  std::atomic<int> before = 0;
  SpoolOptions options = small_spool(folder);
  options.on_synced = [&](std::uint64_t through) { told = through; };
  auto spool = Spool::open(options, clock);
  ASSERT_TRUE(spool);
  (*spool)->set_before_sync([&]() -> Result<void> {
    ++before;
    return {};
  });
  const std::uint64_t sequence = (*spool)->append(Kind::kAct, act_text(1), {}).value();
  EXPECT_EQ(acts_in(folder).size(), 1U);
  for (int i = 0; i < 2000 && (*spool)->synced_through() < sequence; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_GE((*spool)->synced_through(), sequence);
  ASSERT_TRUE((*spool)->sign_and_sync());
  EXPECT_EQ(verified(folder).unsigned_records, 0U);
  EXPECT_GE(told.load() + 1, sequence);
  EXPECT_GE(before.load(), 1);
}

TEST(Spool, SignsByItselfAfterAWhileAndAfterSoManyRecords) {
  const fs::path folder = empty_folder("heads");
  const SystemClock clock;
  SpoolOptions options = small_spool(folder);
  options.head_every_ms = 20;
  auto spool = Spool::open(options, clock);
  ASSERT_TRUE(spool);
  ASSERT_TRUE((*spool)->append(Kind::kAct, act_text(1), {}));
  VerifyReport report;
  for (int i = 0; i < 2000; ++i) {
    report = verified(folder);
    if (report.unsigned_records == 0) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(report.unsigned_records, 0U);
  EXPECT_FALSE(report.closed_in_order);
}

TEST(Spool, SeveralThreadsAppendAndNothingIsLost) {
  const fs::path folder = empty_folder("threads");
  const SystemClock clock;
  auto spool = Spool::open(small_spool(folder), clock);
  ASSERT_TRUE(spool);
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&spool] {
      for (std::uint64_t i = 0; i < 200; ++i) (*spool)->append(Kind::kAct, act_text(i), "a").value();
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE((*spool)->close());
  EXPECT_EQ(acts_in(folder).size(), 800U);
  EXPECT_TRUE(verified(folder).holds);
}

TEST(Spool, AFullQuotaRefusesWithoutAHalfRecordAndClosesSigned) {
  const fs::path folder = empty_folder("quota");
  const SystemClock clock;
  SpoolOptions options = small_spool(folder);
  options.quota_bytes = 40000;
  auto spool = Spool::open(options, clock);
  ASSERT_TRUE(spool);
  std::size_t kept = 0;
  Result<std::uint64_t> refused = 0;
  while ((refused = (*spool)->append(Kind::kAct, act_text(kept), {}))) ++kept;
  EXPECT_EQ(refused.error().fault, Fault::kWorld);
  EXPECT_THAT(refused.error().message, HasSubstr("quota"));
  EXPECT_GT(kept, 50U);
  ASSERT_TRUE((*spool)->close());
  EXPECT_EQ(acts_in(folder).size(), kept);
  EXPECT_TRUE(verified(folder).closed_in_order);
}

TEST(Spool, AWriteThatFailsHalfWayLeavesNothing) {
  const fs::path folder = empty_folder("half");
  const SystemClock clock;
  SpoolOptions options = small_spool(folder);
  options.segment_bytes = 1U << 20U;
  auto spool = Spool::open(options, clock);
  ASSERT_TRUE(spool);
  ASSERT_TRUE((*spool)->append(Kind::kAct, act_text(0), {}));
  // The system refuses the file to grow beyond what it has and a hundred bytes: a disk that fills within a record.
  const auto before = ::signal(SIGXFSZ, SIG_IGN);
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &limit), 0);
  const rlimit whole = limit;
  limit.rlim_cur = fs::file_size(segment_path(folder, 1)) + 100;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  const auto refused = (*spool)->append(Kind::kAct, act_text(1), {});
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &whole), 0);
  ::signal(SIGXFSZ, before);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().fault, Fault::kWorld);
  EXPECT_TRUE(verified(folder).holds);
  ASSERT_TRUE((*spool)->append(Kind::kAct, act_text(2), {}));
  ASSERT_TRUE((*spool)->close());
  EXPECT_EQ(acts_in(folder), (std::vector<std::string>{act_text(0), act_text(2)}));
  EXPECT_TRUE(verified(folder).holds);
}

TEST(Spool, StagedRecordsAreWrittenTogetherAndInOrder) {
  const auto folder = empty_folder("staged");
  const SystemClock clock;
  SpoolOptions options = small_spool(folder);
  options.segment_bytes = 1 << 20;
  options.sync_every_ms = 60'000;  // nobody else flushes
  auto spool = Spool::open(options, clock).value();
  ASSERT_TRUE(spool->sign_and_sync());
  const std::string before = bytes_in(segment_path(folder, 1));
  std::vector<Staged> staged;
  for (std::uint64_t i = 0; i < 3; ++i) staged.push_back(spool->stage(Kind::kAct, act_text(i), "attached").value());
  EXPECT_EQ(bytes_in(segment_path(folder, 1)), before) << "not yet";
  ASSERT_TRUE(spool->settle(staged[1]));
  const std::string after = bytes_in(segment_path(folder, 1));
  for (std::uint64_t i = 0; i < 3; ++i) EXPECT_NE(after.find(act_text(i)), std::string::npos) << i;
  EXPECT_TRUE(spool->settle(staged[0]));
  EXPECT_TRUE(spool->settle(staged[2]));
  spool->stage(Kind::kAct, act_text(7), {}).value();
  EXPECT_EQ(spool->append(Kind::kAct, act_text(8), {}).value(), staged[2].sequence + 2);
  spool->stage(Kind::kAct, act_text(9), {}).value();
  ASSERT_TRUE(spool->close());
  EXPECT_NE(bytes_in(segment_path(folder, 1)).find(act_text(9)), std::string::npos) << "what was staged is closed in";
  EXPECT_TRUE(verified(folder).holds);
}

TEST(Spool, AWriteThatFailsIsToldToAllWhoStaged) {
  const auto folder = empty_folder("staged_failing");
  const SystemClock clock;
  SpoolOptions options = small_spool(folder);
  options.segment_bytes = 1 << 20;
  options.sync_every_ms = 60'000;
  auto spool = Spool::open(options, clock).value();
  ASSERT_TRUE(spool->sign_and_sync());
  const std::uint64_t before = spool->last_sequence();
  const Staged one = spool->stage(Kind::kAct, act_text(1), {}).value();
  const Staged two = spool->stage(Kind::kAct, act_text(2), {}).value();
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &limit), 0);
  const rlimit whole = limit;
  limit.rlim_cur = bytes_in(segment_path(folder, 1)).size() + 100;
  std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  EXPECT_FALSE(spool->settle(two));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &whole), 0);
  EXPECT_EQ(spool->last_sequence(), before);
  const Staged three = spool->stage(Kind::kAct, act_text(3), {}).value();
  EXPECT_EQ(three.sequence, one.sequence) << "its number is given again";
  EXPECT_FALSE(spool->settle(one)) << "and the first one is not taken for it";
  EXPECT_TRUE(spool->settle(three));
  ASSERT_TRUE(spool->close());
  EXPECT_TRUE(verified(folder).holds);
  const std::string bytes = bytes_in(segment_path(folder, 1));
  EXPECT_EQ(bytes.find(act_text(1)), std::string::npos);
  EXPECT_NE(bytes.find(act_text(3)), std::string::npos);
}

TEST(Spool, ATailTornByACrashIsCutKeptAndNoted) {
  for (const std::size_t cut : {1U, 30U, 41U, 200U}) {
    const fs::path folder = filled_spool("torn", 30);
    const fs::path last = list_segments(folder).value().back();
    const std::string whole = bytes_in(last);
    // Half a record behind the last whole one, as a crash in the middle of a write leaves it.
    const std::string half = records_of(list_segments(folder).value().front()).front().substr(0, cut);
    put_bytes(last, whole + half);
    EXPECT_FALSE(verified(folder).holds);
    EXPECT_TRUE(verified(folder).walked.broken->unfinished || cut > 24);
    const SystemClock clock;
    auto spool = Spool::open(small_spool(folder), clock);
    ASSERT_TRUE(spool) << spool.error().message;
    EXPECT_EQ((*spool)->usage().cut_bytes, half.size());
    ASSERT_TRUE((*spool)->append(Kind::kAct, act_text(30), {}));
    ASSERT_TRUE((*spool)->close());
    const VerifyReport report = verified(folder);
    EXPECT_TRUE(report.holds) << report.walked.broken->sentence;
    ASSERT_EQ(report.notes.size(), 1U);
    EXPECT_THAT(report.notes[0], HasSubstr("torn tail of " + std::to_string(half.size()) + " bytes"));
    EXPECT_EQ(acts_in(folder).size(), 31U);
    std::size_t kept = 0;
    for (const auto& entry : fs::directory_iterator(folder / "torn")) {
      EXPECT_EQ(bytes_in(entry.path()), half);
      ++kept;
    }
    EXPECT_EQ(kept, 1U);
  }
}

TEST(Spool, ASegmentThatWasBeingMadeIsGoneOnFrom) {
  const fs::path folder = filled_spool("made", 30);
  const auto segments = list_segments(folder).value();
  const fs::path next = segment_path(folder, segments.size() + 1);
  const SystemClock clock;
  for (const std::size_t size : {0U, 63U}) {
    put_bytes(next, bytes_in(segments.front()).substr(0, size));
    auto spool = Spool::open(small_spool(folder), clock);
    ASSERT_TRUE(spool) << spool.error().message;
    ASSERT_TRUE((*spool)->close());
    EXPECT_TRUE(verified(folder).holds);
  }
}

TEST(Spool, WhateverIsLeftOfItsEndItGoesOn) {
  const fs::path whole = filled_spool("ends", 30);
  const fs::path last = list_segments(whole).value().back().filename();
  const std::string bytes = bytes_in(whole / last);
  const SystemClock clock;
  for (std::size_t size = 0; size <= bytes.size(); size += 97) {
    for (const bool zeros : {false, true}) {  // cut, or of the right size with pages that were never written
      const fs::path folder = empty_folder("ends_copy");
      fs::copy(whole, folder, fs::copy_options::recursive);
      std::string left = bytes.substr(0, size);
      if (zeros) left.resize(bytes.size(), '\0');
      put_bytes(folder / last, left);
      const std::size_t before = acts_in(folder).size();
      auto spool = Spool::open(small_spool(folder), clock);
      ASSERT_TRUE(spool) << size << ": " << spool.error().message;
      ASSERT_TRUE((*spool)->append(Kind::kAct, act_text(99), {}));
      ASSERT_TRUE((*spool)->close());
      const VerifyReport report = verified(folder);
      ASSERT_TRUE(report.holds) << size << ": " << report.walked.broken->sentence;
      EXPECT_EQ(acts_in(folder).size(), before + 1);
      // The closing head was on the disk; that it is gone is told, since no crash takes it.
      EXPECT_EQ(testing::Matches(testing::Contains(HasSubstr("no crash does this")))(report.notes),
                size < bytes.size());
      fs::remove_all(folder);
    }
  }
  fs::remove_all(whole);
}

TEST(Spool, TakesNothingMoreAfterAFlushFailed) {
  const fs::path folder = empty_folder("flush");
  const SystemClock clock;
  std::atomic<bool> fails = false;
  const SpoolOptions options = small_spool(folder);
  auto spool = Spool::open(options, clock);
  ASSERT_TRUE(spool);
  (*spool)->set_before_sync([&]() -> Result<void> {
    if (fails) return world_error("the disk is gone");
    return {};
  });
  ASSERT_TRUE((*spool)->sign_and_sync());
  const std::uint64_t synced = (*spool)->synced_through();
  fails = true;
  ASSERT_TRUE((*spool)->append(Kind::kAct, act_text(1), {}));
  const auto failed = (*spool)->sign_and_sync();
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message, HasSubstr("the disk is gone"));
  EXPECT_EQ((*spool)->synced_through(), synced);
  EXPECT_EQ((*spool)->append(Kind::kAct, act_text(2), {}).error().fault, Fault::kWorld);
  EXPECT_FALSE((*spool)->close());
  spool->reset();
  fails = false;
  auto again = Spool::open(options, clock);
  ASSERT_TRUE(again);
  EXPECT_TRUE((*again)->append(Kind::kAct, act_text(3), {}));
}

TEST(Spool, APlaceThatCantBeWrittenIsTheWorlds) {
  const SystemClock clock;
  const fs::path file = empty_folder("no_folder");
  put_bytes(file, "a file");
  const auto spool = Spool::open(small_spool(file / "evidence"), clock);
  ASSERT_FALSE(spool);
  EXPECT_EQ(spool.error().fault, Fault::kWorld);
}

TEST(Spool, APowerFailureMayTearTheEndsOfTwoSegments) {
  const fs::path folder = filled_spool("two_ends", 30);
  const auto segments = list_segments(folder).value();
  // The last segment reached the disk, the end of the one before it did not.
  const fs::path& before = segments[segments.size() - 2];
  std::string bytes = bytes_in(before);
  std::fill(bytes.end() - 300, bytes.end(), '\0');
  put_bytes(before, bytes);
  fs::remove(folder / "head.json");  // it is written after the flush that did not happen
  const SystemClock clock;
  auto spool = Spool::open(small_spool(folder), clock);
  ASSERT_TRUE(spool) << spool.error().message;
  EXPECT_GT((*spool)->usage().cut_bytes, 300U);
  ASSERT_TRUE((*spool)->append(Kind::kAct, act_text(99), {}));
  ASSERT_TRUE((*spool)->close());
  const VerifyReport report = verified(folder);
  EXPECT_TRUE(report.holds) << report.walked.broken->sentence;
  EXPECT_EQ(report.notes.size(), 1U);
}

TEST(Spool, OneProcessHoldsAFolder) {
  const fs::path folder = empty_folder("lock");
  const SystemClock clock;
  auto spool = Spool::open(small_spool(folder), clock);
  ASSERT_TRUE(spool);
  const auto second = Spool::open(small_spool(folder), clock);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().fault, Fault::kCaller);
}

TEST(Spool, AnAbsentSigningKeyIsNotReplacedByAnother) {
  const fs::path folder = filled_spool("lost_key", 3);
  fs::remove(folder / "signing.pem");
  const SystemClock clock;
  const auto spool = Spool::open(small_spool(folder), clock);
  ASSERT_FALSE(spool);
  EXPECT_THAT(spool.error().message, HasSubstr("Restore it"));
}

}  // namespace
}  // namespace retort::evidence
