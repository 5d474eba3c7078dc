#include "guard/spending_restored.h"

#include <map>
#include <string>
#include <unordered_map>

#include "base/files.h"
#include "evidence/exchange_records.h"
#include "evidence/segment.h"

namespace retort::guard {

Result<RestoredSpending> restore_spending(const std::filesystem::path& spool, std::int64_t now_unix_ms,
                                          policy::LimitBook& limits) {
  RestoredSpending restored;
  if (!is_there(spool)) return restored;
  struct Open {
    std::string account;
    policy::NanoUsd reserved = 0;
  };
  std::unordered_map<std::string, Open> open;
  std::map<std::string, policy::NanoUsd> settled;
  const std::int64_t today = policy::LimitBook::day_of(now_unix_ms);
  const auto walked = evidence::walk(spool, [&](const evidence::RecordView& record) -> Result<void> {
    if (record.kind == evidence::Kind::kAdmission) {
      const auto read = evidence::read_admission(record.text);
      if (!read) return {};  // of a newer version: nothing here can be said of it
      const evidence::AdmissionRecord& admission = *read;
      if (policy::LimitBook::day_of(admission.time_unix_ms) != today || admission.status != 0) return {};
      ++restored.exchanges;
      open[admission.id] = {admission.account, admission.reserved_nano_usd};
    } else if (record.kind == evidence::Kind::kCompletion) {
      const auto read = evidence::read_completion(record.text);
      if (!read) return {};
      const evidence::CompletionRecord& completion = *read;
      const auto found = open.find(completion.id);
      if (found == open.end()) return {};  // of an earlier day
      settled[found->second.account] += completion.nano_usd;
      open.erase(found);
    }
    return {};
  });
  if (!walked) {
    // An empty folder is a spool that has yet to begin.
    if (walked.error().fault == Fault::kCaller) return restored;
    return Failure(walked.error());
  }
  restored.unsettled = open.size();
  for (const auto& [id, exchange] : open) settled[exchange.account] += exchange.reserved;
  for (const auto& [account, amount] : settled) limits.restore(account, today, amount);
  return restored;
}

}  // namespace retort::guard
