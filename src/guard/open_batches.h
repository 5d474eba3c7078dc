// What this guard's batches hold of their accounts' budgets until it is known what they were billed.
//
// A batch holds the most it may cost, and is settled once with its bill, whichever guard saw that (batch_ledger.h); one
// whose bill nobody ever sees stays at the most. Any thread; it locks. The ledger and the book of the reservations must
// outlive it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "guard/batch_ledger.h"
#include "policy/limits.h"

namespace retort::guard {

class OpenBatches {
 public:
  explicit OpenBatches(const BatchLedger& ledger) : ledger_(ledger) {}

  // Before its batch stands in the ledger, or before the first settle().
  void hold(const std::string& exchange, policy::Reservation reservation);
  // Settles what is billed and held here. `record` is asked before each: false leaves it to the next time. `settled`
  // is told after each, with what it cost above what was held.
  using Record = std::function<bool(const BatchBill& bill)>;
  using Settled = std::function<void(const BatchBill& bill, policy::NanoUsd over)>;
  Result<void> settle(const Record& record, const Settled& settled);
  std::size_t held() const;

 private:
  const BatchLedger& ledger_;
  mutable std::mutex mutex_;
  std::map<std::string, policy::Reservation> held_;  // by exchange
  std::int64_t seen_ = 0;                            // the last bill of those that need no second look
};

}  // namespace retort::guard
