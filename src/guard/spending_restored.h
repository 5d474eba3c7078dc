// What was spent before this process began, read back from the evidence: admissions hold what was reserved, completions
// what was settled. An admission without its completion (the guard was killed) counts at its worst case.
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/error.h"
#include "policy/limits.h"

namespace retort::guard {

struct RestoredSpending {
  std::uint64_t exchanges = 0;  // of the day
  std::uint64_t unsettled = 0;  // of them without a completion
};

// Adds the UTC day's spending to `limits`. A spool that isn't there holds nothing.
Result<RestoredSpending> restore_spending(const std::filesystem::path& spool, std::int64_t now_unix_ms,
                                          policy::LimitBook& limits);

}  // namespace retort::guard
