#include "guard/open_batches.h"

#include <utility>
#include <vector>

namespace retort::guard {

void OpenBatches::hold(const std::string& exchange, policy::Reservation reservation) {
  const std::lock_guard lock(mutex_);
  held_.insert_or_assign(exchange, std::move(reservation));
}

Result<void> OpenBatches::settle(const Record& record, const Settled& settled) {
  const std::lock_guard lock(mutex_);
  if (held_.empty()) return {};
  RETORT_ASSIGN(const std::vector<BatchBill> bills, ledger_.bills_after(seen_));
  bool all = true;
  for (const BatchBill& bill : bills) {
    if (const auto found = held_.find(bill.batch.exchange); found != held_.end()) {
      if (record(bill)) {
        policy::Reservation reservation = std::move(found->second);
        held_.erase(found);
        settled(bill, reservation.settle(0, bill.cost));
      } else {
        all = false;
      }
    }
    if (all) seen_ = bill.number;
  }
  return {};
}

std::size_t OpenBatches::held() const {
  const std::lock_guard lock(mutex_);
  return held_.size();
}

}  // namespace retort::guard
