// Batches at a provider, in the ledger of their run: which requests went where under which name, so that whoever comes
// after a kill finds them again instead of sending them again.
//
// Relied on:
//   - a batch, its name and the reservations of all its requests are committed before anything leaves;
//   - what became of it is added step by step and never changed: "uploaded" (the id of its file), "sent" (its own id at
//     the service), "ended" (why);
//   - its lines are ordinary lines of the ledger, settled like any other.
// docs/formats/store.md has the tables. Borrows the store and its ledger; the same thread.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "store/exchange_store.h"
#include "store/ledger.h"

namespace retort::store {

struct BatchRecord {
  std::int64_t number = 0;
  std::string name;      // ours
  std::string endpoint;  // URL
  // Its lines in the ledger, [first, last].
  std::int64_t first = 0;
  std::int64_t last = -1;
  std::string file;  // empty: no upload was heard of
  std::string id;    // at the service; empty: its creation was never heard of
  std::int64_t requests() const { return last - first + 1; }
};

// A line of a batch that isn't settled.
struct OpenLine {
  std::int64_t reservation = 0;
  std::int64_t input_tokens = 0;  // at most
  std::int64_t output_tokens = 0;
  NanoUsd nano_usd = 0;
};

inline constexpr std::string_view kBatchUploaded = "uploaded";
inline constexpr std::string_view kBatchSent = "sent";
inline constexpr std::string_view kBatchEnded = "ended";

class Batches {
 public:
  explicit Batches(Ledger& ledger);

  // Reserves its requests (all of one job and endpoint, at least one) and records it, in one transaction.
  Result<BatchRecord> begin(const std::string& name, std::span<const Reservation> reservations);
  // A step is taken once; the first stands.
  Result<void> note(const BatchRecord& batch, std::string_view step, std::string_view value, std::int64_t at_unix_ms);
  // The batches of a job that haven't ended, in the order they began.
  Result<std::vector<BatchRecord>> under_way(std::string_view job) const;
  // Those of every other job of the store; "": of all jobs.
  Result<std::vector<BatchRecord>> under_way_of_others(std::string_view job) const;
  // By slot.
  Result<std::map<std::int64_t, OpenLine>> open_lines(const BatchRecord& batch) const;
  // Whether any batch of the store has this id at its service.
  Result<bool> knows(std::string_view id) const;

 private:
  Ledger::State* state_;
  Ledger* ledger_;
};

}  // namespace retort::store
