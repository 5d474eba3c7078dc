#include "collect/remote_job.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "collect/remote_estimate.h"
#include "provider/verdict.h"

namespace retort::collect {
namespace {

using provider::Verdict;

// Requests that are reserved in one transaction.
constexpr std::size_t kGroup = 256;
// A slot is asked so often in one call.
constexpr int kMostFailures = 8;
// How long requests under way are waited for when the user stops.
constexpr double kFarewell_s = 30;
// Never longer without looking at the user's wish to stop.
constexpr double kLook_s = 0.2;
// Refusals of single requests before any answer: then it isn't the requests.
constexpr std::int64_t kRefusalsAtStart = 3;

provider::PoolOptions pool_options(const CollectOptions& options) {
  return {.concurrency = static_cast<std::size_t>(options.concurrency),
          .requests_per_minute = static_cast<double>(options.limits.requests_per_minute),
          .tokens_per_minute = static_cast<double>(options.limits.tokens_per_minute),
          .seed = options.seed};
}

}  // namespace

RemoteJob::RemoteJob(const RemoteSource& source, const provider::Dialect& dialect, const RemotePrompts& prompts,
                     const CollectOptions& options, const SlotPlan& plan, std::string job,
                     std::vector<std::int64_t> slots, const provider::Capabilities& capabilities,
                     const store::Totals& before, World world)
    : dialect_(dialect),
      options_(options),
      slots_(std::move(slots)),
      requests_(source, dialect, prompts, options, plan, std::move(job), capabilities),
      world_(std::move(world)),
      pool_(source.endpoints, pool_options(options)),
      forecast_(options.max_tokens),
      spending_(options, before) {}

Result<std::optional<RemoteJob::Request>> RemoteJob::next(double now_s) {
  Request request;
  if (!again_.empty()) {
    request = std::move(again_.back());
    again_.pop_back();
  } else if (!retries_.empty() && retries_.top().due_s <= now_s) {
    request = retries_.top().request;
    retries_.pop();
  } else if (next_slot_ < slots_.size()) {
    request.slot = slots_[next_slot_++];
  } else {
    return std::optional<Request>();
  }
  if (!request.row) {
    RETORT_ASSIGN(PromptRow row, requests_.row(request.slot));
    request.bytes = provider::prompt_bytes(row.prompt);
    request.worst = requests_.worst_case(row);
    request.row = std::make_shared<const PromptRow>(std::move(row));
  }
  return std::optional<Request>(std::move(request));
}

void RemoteJob::put_back(Request request) { again_.push_back(std::move(request)); }

Result<RemoteJob::Sending> RemoteJob::prepare(const Request& request, std::size_t endpoint) {
  const provider::Endpoint& place = pool_.at(endpoint);
  RETORT_ASSIGN(RemoteRequests::Asked asked, requests_.ask(request.slot, *request.row, options_.stream));
  Sending sending;
  sending.tag = next_tag_++;
  sending.call.body = std::move(asked.body);
  sending.call.url = place.url + std::string(dialect_.path());
  sending.call.headers = dialect_.headers(place.key);
  sending.call.timeout_s = options_.timeout_s;
  sending.call.idle_timeout_s = options_.stream ? std::min(120.0, options_.timeout_s) : options_.timeout_s;
  store::Reservation& reservation = sending.reservation;
  reservation.slot = requests_.slot(request.slot);
  reservation.attempt = request.failures;
  reservation.request = asked.request;
  reservation.endpoint = place.url;
  reservation.at_unix_ms = world_.clock.unix_ms();
  reservation.input_tokens = request.worst.input;
  reservation.output_tokens = request.worst.output;
  reservation.nano_usd = spending_.cost(request.worst.input, request.worst.output);
  return sending;
}

Result<void> RemoteJob::start_more() {
  std::vector<Sending> group;
  std::vector<InFlight> flights;
  wait_s_ = kLook_s;
  while (group.size() < kGroup) {
    const double now_s = world_.clock.monotonic_s();
    RETORT_ASSIGN(std::optional<Request> request, next(now_s));
    if (!request) {
      if (!retries_.empty()) wait_s_ = std::min(wait_s_, std::max(0.0, retries_.top().due_s - now_s));
      break;
    }
    const double predicted = forecast_.tokens(request->bytes);
    const provider::Pool::Choice choice = pool_.choose(now_s, predicted);
    if (!choice.endpoint) {
      wait_s_ = std::min(wait_s_, choice.wait_s);
      put_back(std::move(*request));
      break;
    }
    if (!spending_.fits(request->worst)) {
      put_back(std::move(*request));
      // What is under way may cost less than was reserved for it.
      if (in_flight_.empty() && group.empty()) {
        end(Stopped::kBudget,
            "The budget is used up: the next request could cost more than is left. Raise collect.budget, and the same "
            "command goes on.");
      }
      break;
    }
    RETORT_ASSIGN(Sending sending, prepare(*request, *choice.endpoint));
    spending_.reserve(request->worst);
    pool_.start(*choice.endpoint, now_s, predicted);
    flights.push_back({std::move(*request), 0, *choice.endpoint, predicted});
    group.push_back(std::move(sending));
  }
  if (group.empty()) return {};
  std::vector<store::Reservation> reservations;
  reservations.reserve(group.size());
  for (Sending& sending : group) reservations.push_back(std::move(sending.reservation));
  RETORT_ASSIGN(const std::vector<std::int64_t> numbers, world_.ledger.reserve(reservations));
  for (std::size_t i = 0; i < group.size(); ++i) {
    flights[i].reservation = numbers[i];
    in_flight_.emplace(group[i].tag, std::move(flights[i]));
    world_.transport.start(group[i].tag, std::move(group[i].call));
  }
  return {};
}

void RemoteJob::keep(const InFlight& flight, provider::Answer answer, std::vector<store::NewExchange>& kept) {
  if (answer.completion.finish_reason == FinishReason::kLength) ++truncated_;
  ++asked_;
  kept.push_back(requests_.answered(flight.request.slot, *flight.request.row, std::move(answer),
                                    pool_.at(flight.endpoint).url, world_.clock.unix_ms()));
}

void RemoteJob::ask_again(InFlight& flight, const Verdict& verdict, const provider::ToldLimits& told) {
  ++failures_since_answer_;
  last_failure_ = verdict.sentence;
  last_outcome_ = verdict.outcome;
  Request request = flight.request;
  request.row.reset();  // many may wait
  ++request.failures;
  // Being told to wait is not the request's fault.
  if (request.failures >= kMostFailures && !verdict.congested) {
    ++failed_;
    return;
  }
  const double due_s = world_.clock.monotonic_s() + pool_.backoff_s(request.failures, told);
  retries_.push({due_s, request});
}

void RemoteJob::give_up(const InFlight& flight, const Verdict& verdict) {
  ++gave_up_;
  given_up_.emplace_back(flight.request.slot, verdict.sentence);
  last_failure_ = verdict.sentence;
  if (asked_ == 0 && gave_up_ >= kRefusalsAtStart) {
    refusal_ = Error{Fault::kCaller, "The first " + std::to_string(gave_up_) +
                                         " requests were refused, so it isn't a single prompt: " + verdict.sentence +
                                         " Expected settings that the service takes."};
    end(Stopped::kWorld, verdict.sentence);
  }
}

void RemoteJob::end(Stopped stopped, std::string why) {
  if (stopped_ != Stopped::kNot) return;
  stopped_ = stopped;
  why_ = std::move(why);
  stopping_since_s_ = world_.clock.monotonic_s();
}

void RemoteJob::take(InFlight& flight, net::HttpOutcome& outcome, std::vector<store::Settlement>& settlements,
                     std::vector<store::NewExchange>& kept) {
  const double now_s = world_.clock.monotonic_s();
  const provider::Endpoint& place = pool_.at(flight.endpoint);
  const provider::ToldLimits told = provider::told_limits(outcome.headers, world_.clock.unix_ms());
  Verdict verdict = provider::judge(dialect_, outcome, told, place.url, place.key);
  const provider::WorstCase& worst = flight.request.worst;
  // What isn't told costs as much as it can.
  const bool answered = verdict.kind == Verdict::Kind::kAnswered;
  provider::Usage usage;
  if (answered ? !verdict.answer.usage : verdict.maybe_billed) usage = {worst.input, worst.output, 0};
  if (answered && verdict.answer.usage) usage = *verdict.answer.usage;

  store::Settlement settlement;
  settlement.reservation = flight.reservation;
  settlement.at_unix_ms = world_.clock.unix_ms();
  settlement.status = outcome.status;
  settlement.outcome = verdict.outcome;
  settlement.input_tokens = usage.input;
  settlement.output_tokens = usage.output;
  settlement.reasoning_tokens = usage.reasoning;
  settlement.nano_usd = spending_.cost(usage.input, usage.output);
  settlements.push_back(std::move(settlement));
  spending_.settle(worst, usage.input, usage.output);
  pool_.finish(flight.endpoint, now_s, flight.predicted_tokens, static_cast<double>(usage.input + usage.output),
               outcome.seconds, verdict, told);
  if (spending_.capped() && (usage.output > worst.output || usage.input > worst.input)) {
    end(Stopped::kWorld, place.url + " counted " + human_count(usage.input + usage.output) + " tokens where at most " +
                             human_count(worst.total()) +
                             " were reserved: it doesn't keep to the limit that was sent, so no cap can be kept with "
                             "it. Ask for more with collect.max_tokens, or collect without a budget.");
  }
  switch (verdict.kind) {
    case Verdict::Kind::kAnswered:
      last_answer_s_ = now_s;
      failures_since_answer_ = 0;
      if (verdict.answer.usage) forecast_.learn(flight.request.bytes, usage);
      keep(flight, std::move(verdict.answer), kept);
      break;
    case Verdict::Kind::kRetry: ask_again(flight, verdict, told); break;
    case Verdict::Kind::kGiveUp: give_up(flight, verdict); break;
    case Verdict::Kind::kStop:
      if (asked_ == 0 && verdict.fault == Fault::kCaller) refusal_ = Error{verdict.fault, verdict.sentence};
      end(Stopped::kWorld, verdict.sentence);
      put_back(flight.request);
      break;
  }
}

// Slots that the service will never answer are done too, once it is known that it answers others.
Result<void> RemoteJob::write_given_up() {
  if (asked_ == 0) return {};
  for (const auto& [slot, why] : given_up_) RETORT_TRY(world_.store.skip(requests_.slot(slot), why));
  given_up_.clear();
  return {};
}

Result<void> RemoteJob::finished(std::vector<net::FinishedCall> calls) {
  if (calls.empty()) return {};
  std::vector<store::Settlement> settlements;
  std::vector<store::NewExchange> kept;
  for (net::FinishedCall& call : calls) {
    const auto found = in_flight_.find(call.tag);
    RETORT_CHECK(found != in_flight_.end());
    InFlight flight = std::move(found->second);
    in_flight_.erase(found);
    take(flight, call.outcome, settlements, kept);
  }
  const Result<void> written = world_.store.together([&]() -> Result<void> {
    RETORT_TRY(world_.ledger.settle(settlements));
    const auto added = world_.store.add(kept);
    if (!added) return Failure(added.error());
    return write_given_up();
  });
  show();
  return written;
}

void RemoteJob::lose_patience() {
  const double now_s = world_.clock.monotonic_s();
  if (failures_since_answer_ == 0) {
    if (in_flight_.empty()) last_answer_s_ = now_s;  // waiting for a limit isn't failing
    return;
  }
  if (now_s - last_answer_s_ < options_.patience_s) return;
  end(Stopped::kWorld, "The teacher only failed for " + human_seconds(options_.patience_s) +
                           ", last: " + last_failure_ + " The same command goes on when it is back.");
}

void RemoteJob::show() {
  std::string detail = std::to_string(in_flight_.size()) + " in flight";
  if (spending_.spent_nano_usd() > 0) detail += ", " + dollars(spending_.spent_nano_usd()) + " spent";
  if (failures_since_answer_ > 0) detail += ", failing: " + last_outcome_;
  world_.progress.advance(static_cast<double>(asked_ + gave_up_), detail);
}

Result<void> RemoteJob::run() {
  last_answer_s_ = world_.clock.monotonic_s();
  while (true) {
    if (world_.stop.stop_requested() && stopped_ == Stopped::kNot) {
      end(Stopped::kSignal, "Stopped. The same command goes on.");
      if (!in_flight_.empty()) {
        world_.progress.note("Waiting for " + std::to_string(in_flight_.size()) +
                             " answers that are under way and paid for; a second signal ends at once.");
      }
    }
    if (stopped_ == Stopped::kNot) RETORT_TRY(start_more());
    if (in_flight_.empty() && (stopped_ != Stopped::kNot || !anything_left())) break;
    if (stopped_ != Stopped::kNot) {
      wait_s_ = kLook_s;
      if (world_.clock.monotonic_s() - stopping_since_s_ > kFarewell_s) {
        world_.transport.abandon();  // their reservations stay, at their worst case
        break;
      }
    }
    RETORT_TRY(finished(world_.transport.wait(std::min(wait_s_, kLook_s))));
    lose_patience();
  }
  if (asked_ == 0 && gave_up_ > 0 && !refusal_ && slots_.size() == static_cast<std::size_t>(gave_up_)) {
    refusal_ = Error{Fault::kCaller, "Every request was refused: " + last_failure_};
  }
  if (stopped_ == Stopped::kNot && failed_ > 0) {
    end(Stopped::kWorld, human_count(failed_) + " requests failed " + std::to_string(kMostFailures) +
                             " times each, last: " + last_failure_ + " The same command asks them again.");
  }
  return {};
}

void RemoteJob::report(RemoteSummary& summary) const {
  summary.asked = asked_;
  summary.failed = failed_;
  summary.stopped = stopped_;
  summary.why = why_;
}

}  // namespace retort::collect
