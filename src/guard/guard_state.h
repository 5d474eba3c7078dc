// What all workers of one guard share: callers, steps, limits, evidence, counters, and the rules of the moment.
//
// Every part may be used by any thread. Rules are swapped whole: take now() once a request, and keep it to its end.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "base/clock.h"
#include "callers/directory.h"
#include "evidence/recorder.h"
#include "evidence/spool.h"
#include "guard/batch_files.h"
#include "guard/metrics.h"
#include "guard/open_batches.h"
#include "guard/rules.h"
#include "guard/step_book.h"
#include "policy/limits.h"
#include "sealing/sealer.h"
#include "sharing/shared_limits.h"

namespace retort::guard {

using Log = std::function<void(const std::string& sentence)>;

// The rules, the digest by which the evidence names them, and the key ring that reasoning is sealed with.
struct InForce {
  std::shared_ptr<const Rules> rules;
  std::string digest;
  std::shared_ptr<const sealing::Sealer> sealer;  // null: reasoning passes unsealed
};

class GuardState {
 public:
  // Opens what the rules name and restores the day's spending from the evidence. Error: as the parts'.
  static Result<std::unique_ptr<GuardState>> open(std::shared_ptr<const Rules> rules, const Clock& clock,
                                                  Environment environment, Log log);

  std::shared_ptr<const InForce> now() const;
  // Reads the configuration and the files it names again; on an error everything stays as it was. What only a new start
  // can change (listen, workers, admin.listen, the listeners of authz, callers.path, evidence,
  // sealing.keys) is named in the error.
  Result<void> reload();
  // Callers, steps and files that others changed; reloads where guard.yaml or a list did. Once a second or so.
  void refresh();

  const Clock& clock;
  const Environment environment;
  const Log log;
  Metrics metrics;
  policy::LimitBook limits;
  std::unique_ptr<callers::LiveCallers> callers;
  std::unique_ptr<StepBook> steps;
  std::unique_ptr<BatchFiles> batch_files;
  std::unique_ptr<BatchLedger> batch_ledger;
  std::unique_ptr<OpenBatches> open_batches;
  std::unique_ptr<evidence::Spool> spool;         // null: no evidence is kept
  std::unique_ptr<evidence::Recorder> recorder;   // with it
  std::unique_ptr<sharing::SharedLimits> shared;  // null: limits are this guard's own
  std::atomic<bool> draining = false;
  // The last record could not be written.
  std::atomic<bool> evidence_down = false;

  // Settles what batches are billed, by this guard or by another one: recorded first, and counted.
  void settle_batches();
  // A batch's answers used this. Settles it, unless it was billed before.
  void batch_used(const std::string& id, const api::Usage& usage);
  // Counts whether a record was kept.
  void evidence_kept(bool kept);
  // For /metrics: what is counted, and how the parts stand.
  std::string prometheus() const;
  // Whether callers can be served: not while draining, and not without evidence where that is required (tried anew).
  bool ready();

 private:
  GuardState(const Clock& used, Environment variables, Log told)
      : clock(used), environment(std::move(variables)), log(std::move(told)) {}
  Result<void> put_in_force(std::shared_ptr<const Rules> rules);
  Result<void> open_evidence(const Rules& rules);
  Result<void> share_limits(const Rules& rules);

  std::mutex reloading_;
  std::string stamp_;            // of guard.yaml and the key ring, when they were read last
  std::int64_t swept_day_ = -1;  // when payloads beyond their retention were made unreadable last
  std::string complaint_;        // of the last reload that failed: said once, however often it is tried again
  mutable std::mutex swapping_;
  std::shared_ptr<const InForce> in_force_;
};

}  // namespace retort::guard
