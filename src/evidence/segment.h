// A spool's folder from the reader's side: its segments in order, and walking their records.
//
// Reading takes no lock and changes nothing; a guard may be writing meanwhile. One thread per object.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "evidence/record.h"

namespace retort::evidence {

// NNNNNNNN.evidence, from 1.
std::filesystem::path segment_path(const std::filesystem::path& folder, std::uint64_t number);
// In order of number. Error (kCaller): there is no such folder.
Result<std::vector<std::filesystem::path>> list_segments(const std::filesystem::path& folder);

// The same, of a folder that must hold evidence. Error (kCaller): it holds none.
Result<std::vector<std::filesystem::path>> existing_segments(const std::filesystem::path& folder);

// Reads a segment's records one by one, in pieces: memory is that of the largest record.
class SegmentReader {
 public:
  // Error: kCaller when the header isn't whole (the sentence begins with the path), kWorld when it can't be read.
  static Result<SegmentReader> open(const std::filesystem::path& path);
  ~SegmentReader();
  SegmentReader(SegmentReader&&) noexcept;
  SegmentReader& operator=(SegmentReader&&) noexcept;

  const SegmentHeader& header() const { return header_; }
  // The next record, valid until the next call. Empty: the file ends here, at a record's end. Error: kWorld.
  Result<std::optional<ReadRecord>> next(ChainHasher& hasher, const Digest& before, std::uint64_t sequence);
  // Where the record that next() gave last begins; once it gave none, where the records end.
  std::uint64_t offset() const { return offset_; }
  std::uint64_t file_bytes() const { return file_bytes_; }

 private:
  SegmentReader() = default;
  Result<void> fill(std::size_t wanted);
  int descriptor_ = -1;
  std::filesystem::path path_;
  SegmentHeader header_;
  std::string buffer_;
  std::size_t position_ = 0;      // in buffer_: what was given is before it
  std::uint64_t read_bytes_ = 0;  // of the file
  std::uint64_t file_bytes_ = 0;  // when it was opened
  std::uint64_t offset_ = 0;
};

// Where a chain first fails.
struct Break {
  std::filesystem::path segment;
  std::uint64_t offset = 0;    // bytes into the segment
  std::uint64_t sequence = 0;  // of the record that should stand there
  bool unfinished = false;     // the last record of all is cut off: what a crash leaves
  std::string sentence;
};

struct Walked {
  std::uint64_t segments = 0;
  std::uint64_t bytes = 0;
  std::uint64_t records = 0;
  std::uint64_t first_sequence = 0;  // 0: there is no record
  std::uint64_t last_sequence = 0;
  Digest chain;  // after the last record
  std::optional<Break> broken;
};

// Walks every record until the chain breaks. An error of `visit` ends it and is returned. Error: kCaller when there is
// no spool, kWorld when a file can't be read.
Result<Walked> walk(const std::filesystem::path& folder, const std::function<Result<void>(const RecordView&)>& visit);

}  // namespace retort::evidence
