#include "evidence/recovery.h"

#include <algorithm>
#include <system_error>

#include "base/files.h"

namespace retort::evidence {

namespace fs = std::filesystem;

namespace {

Result<std::uint64_t> size_of(const fs::path& path) {
  std::error_code failed;
  const std::uint64_t size = fs::file_size(path, failed);
  if (failed) return world_error("'" + path.string() + "' cannot be read: " + failed.message() + ".");
  return size;
}

// How far a segment's records hold.
struct Held {
  SegmentHeader header;
  std::uint64_t end = 0;       // bytes up to the end of its last whole record
  std::uint64_t sequence = 0;  // that comes next
  Digest chain;
};

Result<Held> held_in(const fs::path& path) {
  RETORT_ASSIGN(SegmentReader reader, SegmentReader::open(path));
  ChainHasher hasher;
  Held held{reader.header(), kSegmentHeaderBytes, reader.header().first_sequence, reader.header().chain};
  while (true) {
    RETORT_ASSIGN(const std::optional<ReadRecord> read, reader.next(hasher, held.chain, held.sequence));
    if (!read || read->state != ReadState::kWhole) break;
    held.end = reader.offset() + read->size;
    held.chain = read->record.chain;
    ++held.sequence;
  }
  return held;
}

// Copies the tail of `path` from `offset` behind what was kept of this crash.
Result<std::string> tail_of(const fs::path& path, std::uint64_t offset) {
  RETORT_ASSIGN(std::string bytes, read_file(path));
  bytes.erase(0, std::min<std::uint64_t>(offset, bytes.size()));
  return bytes;
}

}  // namespace

Result<Recovered> recover(const fs::path& folder) {
  RETORT_ASSIGN(const std::vector<fs::path> paths, list_segments(folder));
  Recovered recovered;
  if (paths.empty()) return recovered;
  const fs::path& last = paths.back();
  fs::path torn_from = last;  // the segment that is made shorter
  std::uint64_t torn_at = 0;  // its new size
  bool drop_last = false;     // the last segment goes altogether
  auto held = held_in(last);
  if (!held && held.error().fault == Fault::kWorld) return Failure(held.error());
  if (paths.size() > 1) {
    const fs::path& previous = paths[paths.size() - 2];
    RETORT_ASSIGN(const Held before, held_in(previous));
    RETORT_ASSIGN(const std::uint64_t size, size_of(previous));
    const bool goes_on = held && held->header.first_sequence == before.sequence && held->header.chain == before.chain &&
                         before.end == size;
    if (!goes_on) {
      drop_last = true;
      torn_from = previous;
      held = before;
    }
  } else if (!held) {
    RETORT_ASSIGN(const std::uint64_t size, size_of(last));
    if (size >= kSegmentHeaderBytes) {
      return caller_error("The evidence in '" + folder.string() + "' can't be gone on with: " + held.error().message +
                          " Move the folder elsewhere, keep it, and start again with a new one.");
    }
    drop_last = true;  // the very first segment was being made
  }
  torn_at = held ? held->end : 0;
  std::string torn;
  if (held) {
    RETORT_ASSIGN(torn, tail_of(torn_from, torn_at));
  }
  if (drop_last) {
    RETORT_ASSIGN(const std::string all, tail_of(last, 0));
    torn += all;
  }
  std::error_code failed;
  if (!torn.empty()) {
    const Digest digest = sha256(torn);
    recovered.cut_bytes = torn.size();
    recovered.cut_digest = digest.hex();
    recovered.cut_file = "torn/" + digest.short_hex();
    RETORT_TRY(write_file(folder / recovered.cut_file, torn));
  }
  if (drop_last) fs::remove(last, failed);
  if (!failed && held && !torn.empty()) fs::resize_file(torn_from, torn_at, failed);
  if (failed) return world_error("The torn tail of '" + folder.string() + "' cannot be cut: " + failed.message() + ".");
  if (!held) return recovered;
  recovered.segments = paths.size() - (drop_last ? 1U : 0U);
  recovered.segment = held->header.number;
  recovered.segment_bytes = held->end;
  recovered.last_sequence = held->sequence - 1;
  recovered.chain = held->chain;
  for (std::size_t i = 0; i + (drop_last ? 1U : 0U) < paths.size(); ++i) {
    RETORT_ASSIGN(const std::uint64_t size, size_of(paths[i]));
    recovered.all_bytes += size;
  }
  return recovered;
}

}  // namespace retort::evidence
