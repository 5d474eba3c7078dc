#include "guard/spending_restored.h"

#include <cstdlib>
#include <map>
#include <string>
#include <unordered_map>

#include "base/files.h"
#include "base/json.h"
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
  std::unordered_map<std::string, AwaitedBatch> batches;  // that cost something
  const auto admit = [&](const evidence::AdmissionRecord& admission) {
    const std::int64_t day = policy::LimitBook::day_of(admission.time_unix_ms);
    if (admission.status != 0) return;
    if (day == today) ++restored.exchanges;
    if (admission.batch && admission.reserved_nano_usd > 0) {
      if (day > today - kMostAwaited_days) {
        batches[admission.id] = {admission.id, admission.account, day, admission.reserved_nano_usd};
      }
    } else if (day == today) {
      open[admission.id] = {admission.account, admission.reserved_nano_usd};
    }
  };
  const auto complete = [&](const evidence::CompletionRecord& completion) {
    const auto batch = batches.find(completion.id);
    if (batch != batches.end() && completion.nano_usd == 0) batches.erase(batch);  // upstream did not take it
    const auto found = open.find(completion.id);
    if (found == open.end()) return;  // of an earlier day, or a batch
    settled[found->second.account] += completion.nano_usd;
    open.erase(found);
  };
  const auto act = [&](std::string_view text) {
    const Json json = Json::parse(text, nullptr, false);
    if (!json.is_object() || json.value("act", "") != kBatchSettled) return;
    const auto batch = batches.find(json.value("exchange", ""));
    if (batch == batches.end()) return;
    if (batch->second.day == today) {
      settled[batch->second.account] += std::strtoll(json.value("nano_usd", "0").c_str(), nullptr, 10);
    }
    batches.erase(batch);
  };
  const auto walked = evidence::walk(spool, [&](const evidence::RecordView& record) -> Result<void> {
    // What can't be read is of a newer version: nothing here can be said of it.
    if (record.kind == evidence::Kind::kAdmission) {
      if (const auto read = evidence::read_admission(record.text)) admit(*read);
    } else if (record.kind == evidence::Kind::kCompletion) {
      if (const auto read = evidence::read_completion(record.text)) complete(*read);
    } else if (record.kind == evidence::Kind::kAct) {
      act(record.text);
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
  for (auto& [exchange, batch] : batches) restored.batches.push_back(std::move(batch));
  for (const auto& [account, amount] : settled) limits.restore(account, today, amount);
  return restored;
}

}  // namespace retort::guard
