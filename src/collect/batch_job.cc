#include "collect/batch_job.h"

#include <algorithm>

#include "base/digest.h"
#include "base/text.h"
#include "collect/remote_estimate.h"
#include "provider/verdict.h"

namespace retort::collect {
namespace {

using provider::Verdict;

// Batches at the service at a time, until it says that these are too many.
constexpr std::size_t kMostUnderWay = 16;
// A slot is asked so often in one call.
constexpr int kMostFailures = 3;
// Batches in a row that the service doesn't take.
constexpr int kMostRefusals = 8;
constexpr double kFirstLook_s = 2;
constexpr double kSlower = 1.5;
// How long a batch that is being handed over is waited for when the user stops.
constexpr double kFarewell_s = 30;
constexpr double kLook_s = 0.2;
constexpr std::size_t kMostResults_bytes = 1U << 30;
constexpr std::size_t kRoomForIds = 256;  // around a request's body

CollectOptions in_mode(CollectOptions options) {
  options.prices = prices_in_mode(options);
  return options;
}

}  // namespace

BatchJob::BatchJob(const RemoteSource& source, const provider::Dialect& dialect, const RemotePrompts& prompts,
                   const CollectOptions& options, const SlotPlan& plan, const std::string& job,
                   std::vector<std::int64_t> slots, const provider::Capabilities& capabilities,
                   const store::Totals& before, store::Batches& batches, RemoteJob::World world)
    : dialect_(dialect),
      api_(provider::batch_api_of(dialect)),
      options_(options),
      place_(source.endpoints.front()),
      job_(job),
      nothing_new_(prompts.nothing_new),
      slots_(std::move(slots)),
      requests_(source, dialect, prompts, options, plan, job, capabilities),
      batches_(batches),
      world_(std::move(world)),
      spending_(in_mode(options), before),
      most_under_way_(kMostUnderWay) {}

void BatchJob::end(Stopped stopped, std::string why) {
  if (stopped_ != Stopped::kNot) return;
  stopped_ = stopped;
  why_ = std::move(why);
}

// Waits for the answer; not beyond the user's wish to stop, unless it decides about money: then a while longer. What
// isn't waited for is told as cut.
net::HttpOutcome BatchJob::ask(net::HttpCall call, bool to_its_end) {
  call = provider::authorised(std::move(call), dialect_, place_.url, place_.key);
  call.timeout_s = std::max(600.0, options_.timeout_s);
  call.idle_timeout_s = call.timeout_s;
  call.max_body_bytes = kMostResults_bytes;
  const std::uint64_t tag = next_tag_++;
  world_.transport.start(tag, std::move(call));
  std::optional<double> stopping_since_s;
  while (true) {
    for (net::FinishedCall& finished : world_.transport.wait(kLook_s)) {
      if (finished.tag == tag) return std::move(finished.outcome);
    }
    if (!stopping()) continue;
    if (!stopping_since_s) stopping_since_s = world_.clock.monotonic_s();
    if (to_its_end && world_.clock.monotonic_s() - *stopping_since_s < kFarewell_s) continue;
    world_.transport.abandon();
    net::HttpOutcome outcome;
    outcome.trouble = net::Trouble::kCut;
    outcome.trouble_text = "stopped";
    return outcome;
  }
}

// Of what isn't an answer of the model: a refusal in our words, or kAnswered where it is whole.
Verdict BatchJob::judge(const net::HttpOutcome& outcome) const {
  if (outcome.trouble == net::Trouble::kNone && outcome.status == 200) {
    Verdict verdict;
    verdict.kind = Verdict::Kind::kAnswered;
    return verdict;
  }
  return provider::judge(dialect_, outcome, provider::told_limits(outcome.headers, world_.clock.unix_ms()), place_.url,
                         place_.key);
}

void BatchJob::schedule(UnderWay& batch, bool sooner) {
  const double longest_s = options_.batch_poll_s;
  batch.interval_s = sooner ? std::min(kFirstLook_s, longest_s) : std::min(kSlower * batch.interval_s, longest_s);
  batch.look_at_s = world_.clock.monotonic_s() + batch.interval_s;
}

// Batches of earlier calls; their slots are not to be asked.
Result<void> BatchJob::take_up() {
  RETORT_ASSIGN(std::vector<store::BatchRecord> records, batches_.under_way(job_));
  for (store::BatchRecord& record : records) {
    if (record.endpoint != place_.url) {
      return caller_error("A batch of this collection is under way at " + record.endpoint + ", and the recipe asks " +
                          place_.url +
                          ". Name the former again until it is fetched, or give it up with `retort collect "
                          "--reconcile`.");
    }
    if (api_.uploads() && record.file.empty()) {
      RETORT_TRY(take_back(record, 0, "not sent", false));
      continue;
    }
    RETORT_ASSIGN(const Lines lines, batches_.open_lines(record));
    std::erase_if(slots_, [&](std::int64_t slot) { return lines.contains(slot); });
    UnderWay batch;
    batch.record = std::move(record);
    batch.interval_s = std::min(kFirstLook_s, options_.batch_poll_s);
    batch.look_at_s = world_.clock.monotonic_s();
    under_way_.push_back(std::move(batch));
  }
  // Those that were taken back are among slots_ already.
  again_.clear();
  if (!under_way_.empty()) {
    world_.progress.note(human_count(static_cast<std::int64_t>(under_way_.size())) +
                         " batches of an earlier call are under way at the service; their answers are fetched.");
  }
  return {};
}

std::int64_t BatchJob::take_slot() {
  if (again_.empty()) return slots_[next_slot_++];
  const std::int64_t slot = again_.back();
  again_.pop_back();
  return slot;
}

// As many requests as limits and budget allow; false: not one.
Result<bool> BatchJob::pack(Parcel& parcel) {
  const std::int64_t now_ms = world_.clock.unix_ms();
  const std::int64_t most = std::min(options_.batch_requests, api_.most_requests());
  parcel.name = "rt" + sha256(job_ + " " + std::to_string(now_ms) + " " + std::to_string(next_tag_++) + " " +
                              std::to_string(again_.empty() ? slots_[next_slot_] : again_.back()))
                           .hex()
                           .substr(0, 24);
  parcel.body = api_.open(parcel.name);
  while (anything_left() && static_cast<std::int64_t>(parcel.reservations.size()) < most) {
    const std::int64_t slot = take_slot();
    RETORT_ASSIGN(const PromptRow row, requests_.row(slot));
    RETORT_ASSIGN(const RemoteRequests::Asked asked, requests_.ask(slot, row, false));
    const provider::WorstCase worst = requests_.worst_case(row);
    const bool full =
        !parcel.reservations.empty() && parcel.body.size() + asked.body.size() + kRoomForIds > api_.most_bytes();
    if (full || !spending_.fits(worst)) {
      again_.push_back(slot);
      break;
    }
    spending_.reserve(worst);
    api_.add(dialect_, provider::batch_request_id(parcel.name, slot), asked.body, parcel.body);
    store::Reservation reservation;
    reservation.slot = requests_.slot(slot);
    const auto failures = failures_.find(slot);
    reservation.attempt = failures == failures_.end() ? 0 : failures->second;
    reservation.request = asked.request;
    reservation.endpoint = place_.url;
    reservation.at_unix_ms = now_ms;
    reservation.input_tokens = worst.input;
    reservation.output_tokens = worst.output;
    reservation.nano_usd = spending_.cost(worst.input, worst.output);
    parcel.reservations.push_back(std::move(reservation));
  }
  api_.close(parcel.name, parcel.body);
  return !parcel.reservations.empty();
}

Result<void> BatchJob::send_more() {
  while (stopped_ == Stopped::kNot && !stopping() && anything_left() && under_way_.size() < most_under_way_ &&
         world_.clock.monotonic_s() >= hold_until_s_) {
    Parcel parcel;
    RETORT_ASSIGN(const bool packed, pack(parcel));
    if (!packed) {
      // What is under way may cost less than was reserved for it.
      if (under_way_.empty()) {
        end(Stopped::kBudget,
            "The budget is used up: the next request could cost more than is left. Raise collect.budget, and the same "
            "command goes on.");
      }
      return {};
    }
    RETORT_TRY(send(std::move(parcel)));
  }
  return {};
}

Result<void> BatchJob::send(Parcel parcel) {
  UnderWay batch;
  RETORT_ASSIGN(batch.record, batches_.begin(parcel.name, parcel.reservations));
  parcel.reservations = {};
  if (!api_.uploads()) return create(std::move(batch), std::move(parcel.body));
  const net::HttpOutcome outcome = ask(api_.upload(parcel.name, std::move(parcel.body)), true);
  Verdict verdict = judge(outcome);
  if (verdict.kind == Verdict::Kind::kAnswered) {
    auto file = api_.uploaded(outcome);
    if (file) {
      batch.record.file = std::move(*file);
      RETORT_TRY(batches_.note(batch.record, store::kBatchUploaded, batch.record.file, world_.clock.unix_ms()));
      return create(std::move(batch), {});
    }
    verdict = {};
    verdict.outcome = "malformed";
    verdict.sentence = place_.url + ": " + file.error().message;
  }
  // Whatever became of the file: nothing was asked.
  return not_taken(batch.record, verdict, outcome.status);
}

Result<void> BatchJob::create(UnderWay batch, std::string body) {
  const net::HttpOutcome outcome =
      ask(api_.create(dialect_, batch.record.name, batch.record.file, std::move(body)), true);
  const Verdict verdict = judge(outcome);
  if (verdict.kind == Verdict::Kind::kAnswered) {
    if (const auto state = api_.state(outcome.body)) {
      refusals_ = 0;
      batch.record.id = state->id;
      RETORT_TRY(batches_.note(batch.record, store::kBatchSent, state->id, world_.clock.unix_ms()));
      schedule(batch, true);
      under_way_.push_back(std::move(batch));
      show("handed over");
      return {};
    }
  }
  // A plain refusal, or nothing that left: it wasn't created. Everything else may have been.
  const int status = outcome.trouble == net::Trouble::kNone ? outcome.status : 0;
  const bool plain = status >= 300 && status < 500 && status != 408 && status != 409 && status != 425;
  const bool refused = plain || outcome.trouble == net::Trouble::kConnect || outcome.trouble == net::Trouble::kTls;
  if (refused) return not_taken(batch.record, verdict, outcome.status);
  batch.interval_s = std::min(kFirstLook_s, options_.batch_poll_s);
  batch.look_at_s = world_.clock.monotonic_s() + batch.interval_s;
  under_way_.push_back(std::move(batch));
  return {};
}

// A batch that the service surely doesn't have, or never began to work on: it costs nothing.
Result<void> BatchJob::take_back(const store::BatchRecord& batch, int status, const std::string& outcome, bool failed) {
  RETORT_ASSIGN(const Lines lines, batches_.open_lines(batch));
  std::vector<store::Settlement> settlements;
  for (const auto& [slot, line] : lines) {
    store::Settlement settlement;
    settlement.reservation = line.reservation;
    settlement.at_unix_ms = world_.clock.unix_ms();
    settlement.status = status;
    settlement.outcome = outcome;
    settlements.push_back(std::move(settlement));
    spending_.settle(line, 0, 0);
    if (failed) {
      again(slot, outcome, last_failure_);
    } else {
      again_.push_back(slot);
    }
  }
  return world_.store.together([&]() -> Result<void> {
    RETORT_TRY(world_.ledger.settle(settlements));
    return batches_.note(batch, store::kBatchEnded, outcome, world_.clock.unix_ms());
  });
}

Result<void> BatchJob::not_taken(const store::BatchRecord& batch, const Verdict& verdict, int status) {
  last_failure_ = verdict.sentence;
  RETORT_TRY(take_back(batch, status, verdict.outcome, false));
  if (stopping()) return {};
  ++refusals_;
  const bool final = verdict.kind == Verdict::Kind::kStop || verdict.kind == Verdict::Kind::kGiveUp;
  if (final || refusals_ >= kMostRefusals) {
    const bool ours = verdict.kind == Verdict::Kind::kGiveUp || verdict.fault == Fault::kCaller;
    if (final && ours && asked_ == 0) refusal_ = Error{Fault::kCaller, verdict.sentence};
    end(Stopped::kWorld, verdict.sentence);
    return {};
  }
  // Too many at a time, or a service in trouble.
  if (verdict.congested) most_under_way_ = std::max<std::size_t>(1, under_way_.size());
  hold_until_s_ = world_.clock.monotonic_s() + std::min(kFirstLook_s * (1 << refusals_), options_.batch_poll_s);
  return {};
}

void BatchJob::again(std::int64_t slot, const std::string& outcome, const std::string& sentence) {
  last_failure_ = sentence.empty() ? place_.url + ": " + outcome + "." : sentence;
  if (++failures_[slot] >= kMostFailures) {
    ++failed_;
    return;
  }
  again_.push_back(slot);
}

Result<void> BatchJob::look_at_due() {
  for (std::size_t i = 0; i < under_way_.size() && stopped_ == Stopped::kNot && !stopping();) {
    if (world_.clock.monotonic_s() < under_way_[i].look_at_s) {
      ++i;
      continue;
    }
    under_way_[i].looked_at = true;
    RETORT_ASSIGN(const bool gone, look(under_way_[i]));
    if (gone) {
      under_way_.erase(under_way_.begin() + static_cast<std::ptrdiff_t>(i));
      show("fetched");
    } else {
      ++i;
    }
  }
  return {};
}

void BatchJob::show(const std::string& status) {
  std::string detail = std::to_string(under_way_.size()) + " batches under way, last " + status;
  if (spending_.spent_nano_usd() > 0) detail += ", " + dollars(spending_.spent_nano_usd()) + " spent";
  world_.progress.advance(static_cast<double>(asked_ + gave_up_), detail);
}

bool BatchJob::seen_all() const {
  // One whose creation was never heard of is looked for until it is found, or known not to be there.
  return nothing_new_ && std::all_of(under_way_.begin(), under_way_.end(),
                                     [](const UnderWay& batch) { return batch.looked_at && !batch.record.id.empty(); });
}

Result<void> BatchJob::run() {
  RETORT_TRY(take_up());
  while (true) {
    if (stopping()) {
      end(Stopped::kSignal, "Stopped. " + human_count(static_cast<std::int64_t>(under_way_.size())) +
                                " batches go on at the service; the same command fetches their answers.");
    }
    if (stopped_ != Stopped::kNot) break;
    RETORT_TRY(send_more());
    RETORT_TRY(look_at_due());
    if (stopped_ != Stopped::kNot || stopping()) continue;
    if (under_way_.empty() ? !anything_left() : seen_all()) break;
    double next_s = under_way_.empty() ? hold_until_s_ : under_way_.front().look_at_s;
    for (const UnderWay& batch : under_way_) next_s = std::min(next_s, batch.look_at_s);
    const double wait_s = std::clamp(next_s - world_.clock.monotonic_s(), 0.0, kLook_s);
    if (wait_s > 0) static_cast<void>(world_.transport.wait(wait_s));
  }
  if (stopped_ == Stopped::kNot && failed_ > 0) {
    end(Stopped::kWorld, human_count(failed_) + " requests failed " + std::to_string(kMostFailures) +
                             " times each, last: " + last_failure_ + " The same command asks them again.");
  }
  return {};
}

void BatchJob::report(RemoteSummary& summary) const {
  summary.asked = asked_;
  summary.failed = failed_;
  summary.stopped = stopped_;
  summary.why = why_;
  summary.batches_under_way = static_cast<std::int64_t>(under_way_.size());
}

}  // namespace retort::collect
