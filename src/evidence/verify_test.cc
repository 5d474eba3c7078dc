#include "evidence/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "evidence/spool_for_test.h"

namespace retort::evidence {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class VerifyTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = filled_spool("verify", 60);
    segments_ = list_segments(folder_).value();
    ASSERT_GT(segments_.size(), 3U);
    ASSERT_TRUE(verified(folder_).holds);
  }
  void TearDown() override { fs::remove_all(folder_); }

  // A segment's bytes from its header and records.
  void put_records(const fs::path& segment, const std::vector<std::string>& records) {
    std::string bytes = bytes_in(segment).substr(0, kSegmentHeaderBytes);
    for (const std::string& record : records) bytes += record;
    put_bytes(segment, bytes);
  }
  void expect_break(const std::string& words) {
    const VerifyReport report = verified(folder_);
    ASSERT_FALSE(report.holds);
    EXPECT_THAT(report.walked.broken->sentence, HasSubstr(words));
    EXPECT_FALSE(report.walked.broken->unfinished);
  }

  fs::path folder_;
  std::vector<fs::path> segments_;
};

TEST_F(VerifyTest, SeesAFlippedBitAnywhereAndNamesThePlace) {
  const std::string whole = bytes_in(segments_[1]);
  const std::vector<std::string> records = records_of(segments_[1]);
  const std::uint64_t first = SegmentReader::open(segments_[1])->header().first_sequence;
  for (std::size_t i = 0; i < whole.size(); i += 37) {
    std::string changed = whole;
    changed[i] = static_cast<char>(changed[i] ^ 4);
    put_bytes(segments_[1], changed);
    const VerifyReport report = verified(folder_);
    ASSERT_FALSE(report.holds) << "byte " << i;
    EXPECT_EQ(report.walked.broken->segment, segments_[1]);
    std::uint64_t sequence = first;
    std::size_t end = kSegmentHeaderBytes;
    for (const std::string& record : records) {
      end += record.size();
      if (i < end) break;
      ++sequence;
    }
    EXPECT_EQ(report.walked.broken->sequence, i < kSegmentHeaderBytes ? first : sequence);
    EXPECT_EQ(report.walked.last_sequence, report.walked.broken->sequence - 1);
  }
}

TEST_F(VerifyTest, SeesRemovedReorderedAndRepeatedRecords) {
  const std::vector<std::string> records = records_of(segments_[1]);
  ASSERT_GT(records.size(), 4U);
  std::vector<std::string> changed = records;
  changed.erase(changed.begin() + 1);
  put_records(segments_[1], changed);
  expect_break("removed");
  changed = records;
  std::swap(changed[1], changed[2]);
  put_records(segments_[1], changed);
  expect_break("another order");
  changed = records;
  changed.insert(changed.begin() + 1, records[1]);
  put_records(segments_[1], changed);
  expect_break("repeated");
  changed = records;
  changed.pop_back();
  put_records(segments_[1], changed);
  expect_break("missing");
  changed = records;
  changed.back().resize(changed.back().size() - 5);
  put_records(segments_[1], changed);
  expect_break("cut off");
}

TEST_F(VerifyTest, SeesARemovedARepeatedAndARenamedSegment) {
  const std::string second = bytes_in(segments_[1]);
  fs::remove(segments_[1]);
  expect_break("missing");
  put_bytes(segments_[1], bytes_in(segments_[0]));
  expect_break("renamed or repeated");
  put_bytes(segments_[1], second);
  EXPECT_TRUE(verified(folder_).holds);
  fs::remove(segments_[0]);  // archived elsewhere: told, and no break
  const VerifyReport report = verified(folder_);
  EXPECT_TRUE(report.holds);
  ASSERT_EQ(report.notes.size(), 1U);
  EXPECT_THAT(report.notes[0], HasSubstr("lies elsewhere, or was removed"));
}

TEST_F(VerifyTest, SeesATruncatedTailByTheHeadThatIsKnown) {
  const VerifyReport before = verified(folder_);
  EXPECT_TRUE(before.closed_in_order);
  const Digest head = before.last_head->chain;
  std::vector<std::string> records = records_of(segments_.back());
  records.pop_back();  // the closing head
  put_records(segments_.back(), records);
  expect_break("head.json speaks of record");
  fs::remove(folder_ / "head.json");  // who cuts the tail may take this too
  EXPECT_TRUE(verified(folder_).holds);
  records.pop_back();
  put_records(segments_.back(), records);
  const VerifyReport cut = verified(folder_);
  EXPECT_TRUE(cut.holds);  // can't be seen from here, and is said so:
  EXPECT_GT(cut.unsigned_records + 1, 0U);
  EXPECT_THAT(lines_of(cut).back(), HasSubstr("cut off"));
  const VerifyReport known = verified(folder_, head);
  ASSERT_FALSE(known.holds);
  EXPECT_THAT(known.walked.broken->sentence, HasSubstr(head.short_hex()));
}

TEST_F(VerifyTest, TakesAHeadThatWasKnownEarlier) {
  const Digest head = verified(folder_).last_head->chain;
  EXPECT_TRUE(verified(folder_, head).holds);
  EXPECT_FALSE(verified(folder_, sha256("another")).holds);
}

TEST_F(VerifyTest, RefusesASpoolThatAnotherKeySigned) {
  const fs::path other = filled_spool("verify_other", 3);
  const auto report = verify({folder_, other / "signing.pem.pub", std::nullopt});
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_FALSE(report->holds);
  EXPECT_THAT(report->walked.broken->sentence, HasSubstr("not signed by the key"));
  EXPECT_FALSE(verify({folder_, folder_ / "nothing.pub", std::nullopt}));
  EXPECT_FALSE(verify({folder_ / "nothing", {}, std::nullopt}));
  fs::remove_all(other);
}

TEST_F(VerifyTest, ARewrittenChainLacksTheSignature) {
  // Somebody who may write the folder but has no key changes a record and makes the chain anew behind it.
  ChainHasher hasher;
  SegmentReader reader = SegmentReader::open(segments_[0]).value();
  Digest chain = reader.header().chain;
  Digest rewritten = chain;
  std::uint64_t sequence = reader.header().first_sequence;
  std::string bytes = bytes_in(segments_[0]).substr(0, kSegmentHeaderBytes);
  while (true) {
    const auto read = reader.next(hasher, chain, sequence).value();
    if (!read) break;
    chain = read->record.chain;
    const std::string text = sequence == 5 ? "{\"act\":\"nothing\"}" : std::string(read->record.text);
    rewritten = append_record(hasher, rewritten, read->record.kind, sequence, text, read->record.attachment, bytes);
    ++sequence;
  }
  put_bytes(segments_[0], bytes);
  const VerifyReport report = verified(folder_);
  ASSERT_FALSE(report.holds);
  EXPECT_THAT(report.walked.broken->sentence, HasSubstr("another chain than it stands in"));
}

TEST_F(VerifyTest, SaysItAllAsJson) {
  const Json json = to_json(verified(folder_));
  EXPECT_EQ(json["holds"], true);
  EXPECT_EQ(json["closed_in_order"], true);
  EXPECT_EQ(json["last_head"]["chain"].get<std::string>().size(), 64U);
  EXPECT_FALSE(json.contains("break"));
}

}  // namespace
}  // namespace retort::evidence
