// The file spool: an append-only, hash-chained, signed record in a folder (docs/formats/evidence.md).
//
// What may be relied on:
//   - a record whose append() returned is there after SIGKILL, and, once synced_through() reaches it (at most
//     `sync_every_ms` and a flush later), after a power failure;
//   - the files never hold half a record between whole ones. A tail that a crash tore is cut when the spool is opened:
//     its bytes are kept beside, under torn/, and a note in the record says so;
//   - the chain goes on over segments and restarts; heads are signed at closing, at rotation, after
//     `head_every_records` and at the latest `head_every_ms` after an unsigned record;
//   - one process per folder: another one is refused.
//
// append() from any thread: it hashes and writes (write(2), no flush) under a lock. A thread of the spool's own
// flushes, signs, and calls `on_synced`. Owns the folder's lock until closed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>

#include "base/clock.h"
#include "evidence/sink.h"

namespace retort::evidence {

struct SpoolOptions {
  std::filesystem::path folder;
  std::filesystem::path signing_key;           // PEM; empty: FOLDER/signing.pem. Made when absent
  std::uint64_t segment_bytes = 64ULL << 20U;  // a new segment is begun when a record would pass it
  std::uint64_t quota_bytes = 16ULL << 30U;    // of all segments; append() fails beyond it
  std::int64_t sync_every_ms = 25;             // how long a record waits for others before they are flushed together
  std::uint64_t head_every_records = 4096;
  std::int64_t head_every_ms = 1000;
  // Runs on the spool's thread after each flush, with synced_through(); may append, and must not wait for this spool.
  std::function<void(std::uint64_t)> on_synced = {};
};

class Spool final : public Sink {
 public:
  // Makes the folder when absent. `clock` must outlive the spool, and may be read from its thread.
  // Error: kCaller when another process holds the folder or a key file is unfit, kWorld when the disk refuses.
  static Result<std::unique_ptr<Spool>> open(SpoolOptions options, const Clock& clock);
  ~Spool() override;  // closes
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  // Error: kWorld when the quota is reached, the disk refuses, or an earlier flush failed (then until reopened: what
  // the kernel dropped can't be known); kCaller when a part is larger than kMaxPartBytes.
  Result<std::uint64_t> append(Kind kind, std::string_view text, std::string_view attachment) override;
  Result<Staged> stage(Kind kind, std::string_view text, std::string_view attachment) override;
  Result<void> settle(const Staged& staged) override;
  std::uint64_t synced_through() const override;
  std::uint64_t last_sequence() const;

  // Runs on the spool's thread before each flush from now on (empty: nothing does): what records refer to reaches the
  // disk before they do. An error counts as a failed flush. When this returns, the one before it runs no more.
  void set_before_sync(std::function<Result<void>()> before_sync);

  // Signs the chain as it is now and flushes; returns when that is done. For tests and for handing a head to others.
  Result<void> sign_and_sync();
  // Signs a closing head and flushes. Appending afterwards fails. By one thread. Error: as append().
  Result<void> close();

  struct Usage {
    std::uint64_t bytes = 0;  // of all segments
    std::uint64_t quota_bytes = 0;
    std::uint64_t segments = 0;
    std::uint64_t cut_bytes = 0;  // of a torn tail, when it was opened
  };
  Usage usage() const;

 private:
  struct State;
  explicit Spool(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace retort::evidence
