// What was paid, and what may have been: one line for every request that leaves, in the store of its run.
//
// Relied on:
//   - a reservation is committed before its request leaves, with the most that the request can cost;
//   - it is settled at most once, with what it did cost; lines are never changed or removed;
//   - what is reserved and not settled (the process died, or the answer never came) counts at its worst case, until a
//     person settles it (`retort collect --reconcile`).
// So at every instant, settled + reserved is at least what a service can have billed. docs/formats/store.md has the
// tables. Borrows the store it was opened on and joins its transactions; the same thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "store/exchange_store.h"

namespace retort::store {

// Billionths of a dollar: exact sums, and room for nine billion dollars.
using NanoUsd = std::int64_t;

struct Reservation {
  Slot slot;                 // slot -1: a probe
  std::int64_t attempt = 0;  // of this slot in this call, from 0
  Digest request;            // of what is sent, its sample number and seed
  std::string endpoint;      // URL
  std::int64_t at_unix_ms = 0;
  std::int64_t input_tokens = 0;  // at most
  std::int64_t output_tokens = 0;
  NanoUsd nano_usd = 0;
};

struct Settlement {
  std::int64_t reservation = 0;  // as reserve() returned it
  std::int64_t at_unix_ms = 0;
  int status = 0;       // of HTTP; 0: none came
  std::string outcome;  // "answered", "429", "cut off", …
  std::int64_t input_tokens = 0;
  std::int64_t output_tokens = 0;
  std::int64_t reasoning_tokens = 0;
  NanoUsd nano_usd = 0;
};

struct Totals {
  std::int64_t attempts = 0;
  // Of those that are settled.
  std::int64_t answered = 0;
  std::int64_t input_tokens = 0;
  std::int64_t output_tokens = 0;
  std::int64_t reasoning_tokens = 0;
  NanoUsd nano_usd = 0;
  // Of those that aren't.
  std::int64_t open_attempts = 0;
  std::int64_t reserved_tokens = 0;
  NanoUsd reserved_nano_usd = 0;
  bool operator==(const Totals&) const = default;
};

class Ledger {
 public:
  // Error: as the store's.
  static Result<Ledger> open(ExchangeStore& store);

  // Their numbers, in order. All or none, and committed when it returns (unless within ExchangeStore::together()).
  Result<std::vector<std::int64_t>> reserve(std::span<const Reservation> reservations);
  Result<void> settle(std::span<const Settlement> settlements);
  // Over everything in the store.
  Result<Totals> totals() const;
  // Settles every open line with what a person found in the service's own records: its worst case, or nothing. How
  // many. Batches that are under way are given up with their lines.
  Result<std::int64_t> reconcile(bool as_worst_case, std::int64_t at_unix_ms);

 private:
  friend class Batches;
  using State = ExchangeStore::State;
  explicit Ledger(ExchangeStore::State* state) : state_(state) {}
  ExchangeStore::State* state_;
};

}  // namespace retort::store
