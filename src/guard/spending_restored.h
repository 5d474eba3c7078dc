// What was spent before this process began, read back from the evidence: admissions hold what was reserved, completions
// what was settled. An admission without its completion (the guard was killed) counts at its worst case. Batches stay
// reserved until the record of what they were billed (the act `batch_settled`).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "policy/limits.h"

namespace retort::guard {

// A batch whose bill isn't recorded.
struct AwaitedBatch {
  std::string exchange, account;
  std::int64_t day = 0;
  policy::NanoUsd reserved = 0;
};

constexpr const char* kBatchSettled = "batch_settled";
// Providers keep results for a month: a batch is awaited no longer than this.
constexpr std::int64_t kMostAwaited_days = 40;

struct RestoredSpending {
  std::uint64_t exchanges = 0;        // of the day
  std::uint64_t unsettled = 0;        // of them without a completion
  std::vector<AwaitedBatch> batches;  // of the last days; not in `limits` yet
};

// Adds the UTC day's spending to `limits`. A spool that isn't there holds nothing.
Result<RestoredSpending> restore_spending(const std::filesystem::path& spool, std::int64_t now_unix_ms,
                                          policy::LimitBook& limits);

}  // namespace retort::guard
