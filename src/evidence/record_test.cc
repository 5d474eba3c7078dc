#include "evidence/record.h"

#include <gtest/gtest.h>

namespace retort::evidence {
namespace {

TEST(Record, IsReadAsItWasWritten) {
  ChainHasher hasher;
  const Digest start = sha256("start");
  std::string bytes;
  const Digest first = append_record(hasher, start, Kind::kAdmission, 7, "{\"id\":\"a\"}", "attached", bytes);
  const std::size_t first_size = bytes.size();
  const Digest second = append_record(hasher, first, Kind::kCompletion, 8, "{}", "", bytes);
  const ReadRecord read = read_record(hasher, bytes, start, 7);
  ASSERT_EQ(read.state, ReadState::kWhole) << read.why;
  EXPECT_EQ(read.size, first_size);
  EXPECT_EQ(read.record.kind, Kind::kAdmission);
  EXPECT_EQ(read.record.text, "{\"id\":\"a\"}");
  EXPECT_EQ(read.record.attachment, "attached");
  EXPECT_EQ(read.record.chain, first);
  const ReadRecord next = read_record(hasher, std::string_view(bytes).substr(first_size), read.record.chain, 8);
  ASSERT_EQ(next.state, ReadState::kWhole) << next.why;
  EXPECT_EQ(next.record.chain, second);
}

TEST(Record, TheChainIsTheDigestOfWhatWasBeforeAndTheRecord) {
  ChainHasher hasher;
  const Digest start = sha256("start");
  std::string bytes;
  const Digest chain = append_record(hasher, start, Kind::kAct, 1, "text", "more", bytes);
  const std::string before(reinterpret_cast<const char*>(start.bytes.data()), start.bytes.size());
  EXPECT_EQ(chain, sha256(before + bytes.substr(0, 24) + "text" + "more"));
}

TEST(Record, EveryFlippedBitAndEveryTruncationIsSeen) {
  ChainHasher hasher;
  const Digest start = sha256("start");
  std::string bytes;
  append_record(hasher, start, Kind::kAct, 1, "{\"act\":\"test\"}", "payload", bytes);
  for (std::size_t i = 0; i < bytes.size() * 8; ++i) {
    std::string changed = bytes;
    changed[i / 8] = static_cast<char>(changed[i / 8] ^ (1 << (i % 8)));
    EXPECT_NE(read_record(hasher, changed, start, 1).state, ReadState::kWhole) << "bit " << i;
  }
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(read_record(hasher, std::string_view(bytes).substr(0, size), start, 1).state, ReadState::kCut) << size;
  }
  EXPECT_NE(read_record(hasher, bytes, sha256("other"), 1).state, ReadState::kWhole);
  EXPECT_NE(read_record(hasher, bytes, start, 2).state, ReadState::kWhole);
}

TEST(Record, ASegmentsHeaderRefusesWhatItIsNot) {
  const SegmentHeader header{3, 99, sha256("chain")};
  const std::string bytes = segment_header_bytes(header);
  ASSERT_EQ(bytes.size(), kSegmentHeaderBytes);
  const auto read = read_segment_header(bytes);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->number, 3U);
  EXPECT_EQ(read->first_sequence, 99U);
  EXPECT_EQ(read->chain, header.chain);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::string changed = bytes;
    changed[i] = static_cast<char>(changed[i] ^ 16);
    EXPECT_FALSE(read_segment_header(changed)) << i;
    EXPECT_FALSE(read_segment_header(bytes.substr(0, i))) << i;
  }
}

}  // namespace
}  // namespace retort::evidence
