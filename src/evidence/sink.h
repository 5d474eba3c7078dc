// Where records of evidence go: the file spool, or whatever else keeps them in order.
//
// append() may be called by any thread and does not wait for the disk; when it returns a sequence number, the record
// survives the death of this process. An error (kWorld) means that nothing of the record was kept: the caller does what
// its rule declares (refuse, or go on without).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "evidence/record.h"

namespace retort::evidence {

// A record that has its place in the order and may not be written yet.
struct Staged {
  std::uint64_t sequence = 0;
  std::uint64_t failures = 0;  // of the sink, when it was staged
};

class Sink {
 public:
  virtual ~Sink() = default;
  // append() in two steps, so that many records are written at once: settle() writes what anybody has staged, and says
  // whether this record is there. An error of settle() (kWorld): it isn't. What must follow the record waits for it.
  virtual Result<Staged> stage(Kind kind, std::string_view text, std::string_view attachment) {
    auto sequence = append(kind, text, attachment);
    if (!sequence) return Failure(std::move(sequence.error()));
    return Staged{*sequence, 0};
  }
  virtual Result<void> settle(const Staged&) { return {}; }
  // `text`: canonical JSON; `attachment`: bytes, or empty. Each at most kMaxPartBytes, else kCaller.
  virtual Result<std::uint64_t> append(Kind kind, std::string_view text, std::string_view attachment) = 0;
  // Every record up to this one survives a power failure.
  virtual std::uint64_t synced_through() const = 0;
};

// Keeps records in memory, and fails when told to: for tests of what writes evidence. One thread.
class MemorySink final : public Sink {
 public:
  struct Kept {
    Kind kind;
    std::string text;
    std::string attachment;
  };

  Result<std::uint64_t> append(Kind kind, std::string_view text, std::string_view attachment) override {
    if (!refuses_with.empty()) return world_error(refuses_with);
    records.push_back({kind, std::string(text), std::string(attachment)});
    return records.size();
  }
  std::uint64_t synced_through() const override { return records.size(); }

  std::vector<Kept> records;
  std::string refuses_with;  // when set, the error of every append
};

}  // namespace retort::evidence
