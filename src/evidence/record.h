// The spool's bytes: a record's frame, the chain over records, a segment's header. docs/formats/evidence.md is the
// page.
//
// Everything here is pure and takes any bytes: what isn't a record of ours is told as such, never trusted for a size.
// A RecordView points into the bytes it was read from. ChainHasher: one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/digest.h"

namespace retort::evidence {

enum class Kind : std::uint32_t {
  kAdmission = 1,   // what came and what was decided, before upstream is called
  kCompletion = 2,  // how it ended, before the last byte goes out
  kHead = 3,        // a signature over the chain so far
  kNote = 4,        // the spool about itself: opened, a tail cut
  kAct = 5,         // what people and policy did: erasures, steps, configuration in force
};

constexpr std::size_t kFrameBytes = 40;
constexpr std::size_t kSegmentHeaderBytes = 64;
constexpr std::size_t kMaxPartBytes = 64U << 20U;  // of a record's text, and of its attachment

// SHA-256 over the chain's value before and a record's bytes; makes no new context for each.
class ChainHasher {
 public:
  ChainHasher();
  ~ChainHasher();
  ChainHasher(const ChainHasher&) = delete;
  ChainHasher& operator=(const ChainHasher&) = delete;
  // `frame`: the first 24 bytes of the record's frame.
  Digest next(const Digest& before, std::string_view frame, std::string_view text, std::string_view attachment);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Appends the record's bytes to `out`; returns the chain's value after it.
Digest append_record(ChainHasher& hasher, const Digest& before, Kind kind, std::uint64_t sequence,
                     std::string_view text, std::string_view attachment, std::string& out);

struct RecordView {
  Kind kind = Kind::kNote;
  std::uint64_t sequence = 0;
  std::string_view text;        // canonical JSON
  std::string_view attachment;  // encrypted payload, or empty
  Digest before;                // the chain's value before this record
  Digest chain;                 // and after it
};

enum class ReadState : std::uint8_t {
  kWhole,
  kCut,     // the bytes end before the record does
  kBroken,  // no record, a changed one, or one that belongs elsewhere; `why` says it
};

struct ReadRecord {
  ReadState state = ReadState::kBroken;
  RecordView record;     // when whole
  std::size_t size = 0;  // bytes of the record; when cut: bytes it needs (at least)
  std::string why;
};

// The record at the beginning of `bytes`, given the chain before it and the sequence it must have.
ReadRecord read_record(ChainHasher& hasher, std::string_view bytes, const Digest& before, std::uint64_t sequence);

struct SegmentHeader {
  std::uint64_t number = 0;          // of the segment, from 1
  std::uint64_t first_sequence = 0;  // of its first record
  Digest chain;                      // before its first record; random in the first segment of all
};
std::string segment_header_bytes(const SegmentHeader& header);
// Error (kCaller): the bytes are no header of a version this program knows.
Result<SegmentHeader> read_segment_header(std::string_view bytes);

}  // namespace retort::evidence
