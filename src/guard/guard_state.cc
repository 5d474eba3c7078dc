#include "guard/guard_state.h"

#include <array>

#include "base/cryptography.h"
#include "base/digest.h"
#include "base/files.h"
#include "guard/spending_restored.h"

namespace retort::guard {
namespace {

// What a running guard can't change, as a text to compare.
std::string fixed_part(const GuardOptions& options) {
  const EvidenceOptions& evidence = options.evidence;
  return options.listen + "\n" + std::to_string(options.workers) + "\n" + options.admin.listen + "\n" +
         options.authz.listen + "\n" + options.authz.ext_authz + "\n" + options.state.redis + "\n" +
         options.callers.path + "\n" + evidence.path + "\n" + evidence.prompts + "\n" +
         std::to_string(evidence.retention_days) + "\n" + std::to_string(evidence.quota_mb) + "\n" +
         options.sealing.keys;
}

std::string stamp_of(const Rules& rules) {
  std::string stamp;
  for (const std::filesystem::path& file : {rules.file, rules.path(rules.options.sealing.keys)}) {
    std::error_code error;
    const auto time = std::filesystem::last_write_time(file, error);
    stamp += std::to_string(error ? 0 : time.time_since_epoch().count()) + "\n";
  }
  return stamp;
}

Result<std::shared_ptr<const sealing::Sealer>> open_sealer(const Rules& rules, std::int64_t now_unix_ms) {
  const std::string& keys = rules.options.sealing.keys;
  if (keys.empty()) return std::shared_ptr<const sealing::Sealer>();
  const std::filesystem::path path = rules.path(keys);
  auto ring = is_there(path) ? sealing::KeyRing::read(path) : sealing::KeyRing::add(path, "first", now_unix_ms);
  if (!ring) return Failure(ring.error());
  return std::shared_ptr<const sealing::Sealer>(std::make_shared<sealing::Sealer>(std::move(*ring)));
}

}  // namespace

Result<std::unique_ptr<GuardState>> GuardState::open(std::shared_ptr<const Rules> rules, const Clock& clock,
                                                     Environment environment, Log log) {
  std::unique_ptr<GuardState> state(new GuardState(clock, std::move(environment), std::move(log)));
  const std::filesystem::path folder = rules->path(rules->options.callers.path);
  RETORT_ASSIGN(state->callers, callers::LiveCallers::open(callers::RegistryPaths::in(folder), rules->ownership));
  RETORT_ASSIGN(state->steps, StepBook::open(folder / "steps.sqlite"));
  RETORT_ASSIGN(state->batch_files, BatchFiles::open(folder / "batches.sqlite"));
  RETORT_ASSIGN(state->batch_ledger, BatchLedger::open(folder / "batches.sqlite"));
  state->open_batches = std::make_unique<OpenBatches>(*state->batch_ledger);
  RETORT_TRY(state->open_evidence(*rules));
  RETORT_TRY(state->share_limits(*rules));
  RETORT_TRY(state->put_in_force(rules));
  state->stamp_ = stamp_of(*rules);
  return state;
}

Result<void> GuardState::open_evidence(const Rules& rules) {
  const EvidenceOptions& options = rules.options.evidence;
  if (options.path.empty()) return {};
  const std::filesystem::path folder = rules.path(options.path);
  RETORT_ASSIGN(const RestoredSpending restored, restore_spending(folder, clock.unix_ms(), limits));
  if (restored.unsettled > 0) {
    log(std::to_string(restored.unsettled) +
        " requests of today had not ended when the guard stopped; they count at their worst case.");
  }
  for (const AwaitedBatch& batch : restored.batches) {
    open_batches->hold(batch.exchange, limits.hold(batch.account, batch.day, batch.reserved));
  }
  evidence::SpoolOptions spool_options;
  spool_options.folder = folder;
  spool_options.quota_bytes = static_cast<std::uint64_t>(options.quota_mb) << 20U;
  RETORT_ASSIGN(spool, evidence::Spool::open(std::move(spool_options), clock));
  evidence::RecorderOptions recording;
  recording.prompts = options.prompts == "whole"    ? evidence::Prompts::kWhole
                      : options.prompts == "sketch" ? evidence::Prompts::kSketch
                                                    : evidence::Prompts::kNone;
  recording.retention_days = options.retention_days;
  RETORT_ASSIGN(recording.master, read_or_make_key(evidence::master_key_path(folder)));
  recording.keys_folder = evidence::data_keys_folder(folder);
  recorder = std::make_unique<evidence::Recorder>(std::move(recording), *spool);
  return {};
}

Result<void> GuardState::share_limits(const Rules& rules) {
  if (rules.options.state.redis.empty()) return {};
  RETORT_ASSIGN(auto address, sharing::RedisAddress::parse(rules.options.state.redis));
  address.password = rules.redis_password;
  std::array<std::uint8_t, 32> bytes{};
  RETORT_TRY(random_bytes(bytes));
  std::string id = Digest{bytes}.short_hex();
  // Where the evidence restores the day's money after a restart, the guard goes on under the name it was spent by.
  if (!rules.options.evidence.path.empty()) {
    const std::filesystem::path file = rules.path(rules.options.evidence.path) / "guard.id";
    if (is_there(file)) {
      RETORT_ASSIGN(id, read_file(file));
    } else {
      RETORT_TRY(write_file(file, id));
    }
  }
  shared = std::make_unique<sharing::SharedLimits>(std::move(address), id, limits, clock, log);
  return {};
}

Result<void> GuardState::put_in_force(std::shared_ptr<const Rules> rules) {
  auto in_force = std::make_shared<InForce>();
  RETORT_ASSIGN(in_force->sealer, open_sealer(*rules, clock.unix_ms()));
  if (recorder) {
    RETORT_ASSIGN(in_force->digest, recorder->in_force(rules->digests(), clock.unix_ms()));
  }
  callers->set_rule(rules->ownership);
  in_force->rules = std::move(rules);
  const std::lock_guard lock(swapping_);
  in_force_ = std::move(in_force);
  return {};
}

std::shared_ptr<const InForce> GuardState::now() const {
  const std::lock_guard lock(swapping_);
  return in_force_;
}

Result<void> GuardState::reload() {
  const std::lock_guard lock(reloading_);
  const std::shared_ptr<const Rules> before = now()->rules;
  const auto reloaded = [&]() -> Result<void> {
    RETORT_ASSIGN(auto rules, load_rules(before->file, environment));
    if (fixed_part(rules->options) != fixed_part(before->options)) {
      return caller_error(
          "listen, workers, admin.listen, authz.listen, authz.ext_authz, state, callers.path, evidence and "
          "sealing.keys can't "
          "change while the guard runs; "
          "restart it, or put them back.");
    }
    return put_in_force(std::move(rules));
  }();
  ++(reloaded ? metrics.reloads : metrics.failed_reloads);
  if (!reloaded) return with_context(reloaded.error(), "The configuration was not taken over");
  return {};
}

void GuardState::batch_used(const std::string& id, const api::Usage& usage) {
  const auto first = batch_ledger->bill(id, usage);
  if (!first) {
    log(first.error().message);
  } else if (*first) {
    settle_batches();
  }
}

void GuardState::settle_batches() {
  const bool required = now()->rules->options.evidence.required;
  const auto record = [&](const BatchBill& bill) {
    if (!recorder) return true;
    const bool kept = recorder
                          ->act(kBatchSettled,
                                {{"account", bill.batch.account},
                                 {"batch", bill.batch.id},
                                 {"exchange", bill.batch.exchange},
                                 {"nano_usd", std::to_string(bill.cost)},
                                 {"input_tokens", std::to_string(bill.usage.input)},
                                 {"cached_tokens", std::to_string(bill.usage.cached)},
                                 {"cache_written_tokens", std::to_string(bill.usage.cache_written)},
                                 {"output_tokens", std::to_string(bill.usage.output)},
                                 {"reasoning_tokens", std::to_string(bill.usage.reasoning)}},
                                clock.unix_ms())
                          .has_value();
    evidence_kept(kept);
    // Nothing is given back that a restart would take again.
    return kept || !required;
  };
  const auto settled = [&](const BatchBill& bill, policy::NanoUsd over) {
    ++metrics.settled_batches;
    metrics.batches_nano_usd += static_cast<std::uint64_t>(bill.cost);
    metrics.input_tokens += static_cast<std::uint64_t>(bill.usage.input);
    metrics.output_tokens += static_cast<std::uint64_t>(bill.usage.output);
    metrics.reasoning_tokens += static_cast<std::uint64_t>(bill.usage.reasoning);
    if (over <= 0) return;
    metrics.overshoot_nano_usd += static_cast<std::uint64_t>(over);
    log("Upstream billed " + std::to_string(policy::usd(over)) + " USD above what was reserved for the batch " +
        bill.batch.id + ".");
  };
  const Result<void> done = open_batches->settle(record, settled);
  if (!done) log(done.error().message);
}

void GuardState::evidence_kept(bool kept) {
  (kept ? metrics.evidence_records : metrics.evidence_failures).fetch_add(1, std::memory_order_relaxed);
  if (evidence_down.load(std::memory_order_relaxed) == kept) evidence_down = !kept;
}

std::string GuardState::prometheus() const {
  std::string text = metrics.prometheus();
  if (!shared) return text;
  const sharing::SharedLimits::Standing standing = shared->standing();
  const auto gauge = [&](const std::string& name, const std::string& help, const std::string& value) {
    text += "# HELP retort_guard_" + name + " " + help + "\n# TYPE retort_guard_" + name + " gauge\nretort_guard_" +
            name + " " + value + "\n";
  };
  gauge("redis_connected", "Whether Redis answered when it was asked last.", standing.connected ? "1" : "0");
  gauge("redis_leases", "Budgets that this guard has a share of.", std::to_string(standing.leases));
  gauge("redis_granted_usd", "What Redis granted to this guard, spent or not.",
        std::to_string(policy::usd(standing.granted)));
  return text;
}

bool GuardState::ready() {
  if (draining) return false;
  if (!evidence_down || !recorder || !now()->rules->options.evidence.required) return true;
  // Nobody is sent to a guard that isn't ready, so nobody else would notice that it could be. Room for one small record
  // is no room to serve by.
  const evidence::Spool::Usage usage = spool->usage();
  if (usage.bytes + usage.quota_bytes / 16 > usage.quota_bytes) return false;
  evidence_kept(recorder->act("readiness", {}, clock.unix_ms()).has_value());
  return !evidence_down;
}

void GuardState::refresh() {
  const std::int64_t today = policy::LimitBook::day_of(clock.unix_ms());
  if (recorder && today != swept_day_) {
    swept_day_ = today;
    const auto swept = recorder->sweep(clock.unix_ms());
    if (!swept) log(swept.error().message);
  }
  const auto tell = [&](const Result<bool>& refreshed) {
    if (!refreshed) log(refreshed.error().message);
  };
  tell(callers->refresh());
  tell(steps->refresh());
  settle_batches();
  const std::shared_ptr<const Rules> rules = now()->rules;
  std::string stamp = stamp_of(*rules);
  if (stamp == stamp_ && !rules->sources->files_changed()) return;
  stamp_ = std::move(stamp);
  const Result<void> reloaded = reload();
  const std::string sentence = reloaded ? "The configuration was read again." : reloaded.error().message;
  if (reloaded || sentence != complaint_) log(sentence);
  complaint_ = reloaded ? std::string() : sentence;
}

}  // namespace retort::guard
