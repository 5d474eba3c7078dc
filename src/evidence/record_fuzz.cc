// Any bytes as a segment: its header, then its records one by one.
#include "evidence/record.h"
#include "fuzz/fuzz.h"

namespace evidence = retort::evidence;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(bytes), size);
  evidence::ChainHasher hasher;
  retort::Digest chain;
  std::uint64_t sequence = 1;
  if (const auto header = evidence::read_segment_header(rest)) {
    RETORT_CHECK(evidence::segment_header_bytes(*header) == rest.substr(0, evidence::kSegmentHeaderBytes));
    chain = header->chain;
    sequence = header->first_sequence;
    rest.remove_prefix(evidence::kSegmentHeaderBytes);
  }
  while (true) {
    const evidence::ReadRecord read = evidence::read_record(hasher, rest, chain, sequence);
    if (read.state != evidence::ReadState::kWhole) {
      RETORT_CHECK(read.state == evidence::ReadState::kBroken ? !read.why.empty() : read.size > rest.size());
      return 0;
    }
    std::string again;
    RETORT_CHECK(evidence::append_record(hasher, chain, read.record.kind, sequence, read.record.text,
                                         read.record.attachment, again) == read.record.chain);
    RETORT_CHECK(again == rest.substr(0, read.size));
    chain = read.record.chain;
    rest.remove_prefix(read.size);
    ++sequence;
  }
}

std::vector<std::string> fuzz_seeds() {
  evidence::ChainHasher hasher;
  const retort::Digest start = retort::sha256(std::string_view("start"));
  std::string segment = evidence::segment_header_bytes({1, 7, start});
  retort::Digest chain = start;
  for (std::uint64_t sequence = 7; sequence < 11; ++sequence) {
    chain = evidence::append_record(hasher, chain, evidence::Kind::kAct, sequence, "{\"act\":\"seed\"}",
                                    std::string(sequence, 'a'), segment);
  }
  std::string record;
  evidence::append_record(hasher, {}, evidence::Kind::kAdmission, 1, "{}", "", record);
  return {segment, record, segment.substr(0, evidence::kSegmentHeaderBytes)};
}
