#include "collect/remote_job.h"

#include <algorithm>
#include <utility>

#include "base/digest.h"
#include "base/text.h"
#include "base/version.h"
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
    : source_(source),
      dialect_(dialect),
      prompts_(prompts),
      options_(options),
      plan_(plan),
      job_(std::move(job)),
      slots_(std::move(slots)),
      capabilities_(capabilities),
      world_(std::move(world)),
      pool_(source.endpoints, pool_options(options)),
      forecast_(options.max_tokens),
      spending_(options, before) {}

std::optional<RemoteJob::Request> RemoteJob::next(double now_s) {
  if (!again_.empty()) {
    const Request request = again_.back();
    again_.pop_back();
    return request;
  }
  if (!retries_.empty() && retries_.top().due_s <= now_s) {
    const Request request = retries_.top().request;
    retries_.pop();
    return request;
  }
  if (next_slot_ == slots_.size()) return std::nullopt;
  Request request;
  request.slot = slots_[next_slot_++];
  const Prompt& prompt = prompts_.rows[static_cast<std::size_t>(plan_.row_of(request.slot))].prompt;
  request.bytes = provider::prompt_bytes(prompt);
  request.worst = provider::worst_case(prompt, options_.max_tokens);
  return request;
}

SamplingOptions RemoteJob::sampling_of(std::int64_t slot) const {
  constexpr std::uint64_t kSeedBits = 0x7fffffff;  // what every implementation takes
  SamplingOptions sampling = answer_sampling(options_);
  sampling.seed = capabilities_.seed ? plan_.answer_seed(slot) & kSeedBits : 0;
  return sampling;
}

void RemoteJob::put_back(Request request) { again_.push_back(request); }

Result<RemoteJob::Sending> RemoteJob::prepare(const Request& request, const SamplingOptions& sampling,
                                              std::size_t endpoint) {
  const provider::Endpoint& place = pool_.at(endpoint);
  provider::AskOptions ask;
  ask.sampling = sampling;
  ask.stream = options_.stream;
  ask.seed = capabilities_.seed;
  ask.max_completion_tokens = capabilities_.max_completion_tokens;
  if (options_.logprobs) ask.top_logprobs = static_cast<int>(*options_.logprobs);
  const PromptRow& row = prompts_.rows[static_cast<std::size_t>(plan_.row_of(request.slot))];
  Sending sending;
  sending.tag = next_tag_++;
  auto body = dialect_.body(source_.teacher.model, row.prompt, ask);
  if (!body) return with_context(body.error(), prompts_.source + ", line " + std::to_string(row.line));
  sending.call.body = std::move(*body);
  sending.call.url = place.url + std::string(dialect_.path());
  sending.call.headers = dialect_.headers(place.key);
  sending.call.timeout_s = options_.timeout_s;
  sending.call.idle_timeout_s = options_.stream ? std::min(120.0, options_.timeout_s) : options_.timeout_s;
  store::Reservation& reservation = sending.reservation;
  reservation.slot = {job_, request.slot};
  reservation.attempt = request.failures;
  reservation.request =
      Sha256()
          .update(dialect_.name())
          .update("\n")
          .update(sending.call.body)
          .update("\n" + std::to_string(plan_.sample_of(request.slot)) + " " + std::to_string(ask.sampling.seed))
          .finish();
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
    std::optional<Request> request = next(now_s);
    if (!request) {
      if (!retries_.empty()) wait_s_ = std::min(wait_s_, std::max(0.0, retries_.top().due_s - now_s));
      break;
    }
    const double predicted = forecast_.tokens(request->bytes);
    const provider::Pool::Choice choice = pool_.choose(now_s, predicted);
    if (!choice.endpoint) {
      wait_s_ = std::min(wait_s_, choice.wait_s);
      put_back(*request);
      break;
    }
    if (!spending_.fits(request->worst)) {
      put_back(*request);
      // What is under way may cost less than was reserved for it.
      if (in_flight_.empty() && group.empty()) {
        end(Stopped::kBudget,
            "The budget is used up: the next request could cost more than is left. Raise collect.budget, and the same "
            "command goes on.");
      }
      break;
    }
    const SamplingOptions sampling = sampling_of(request->slot);
    RETORT_ASSIGN(Sending sending, prepare(*request, sampling, *choice.endpoint));
    spending_.reserve(request->worst);
    pool_.start(*choice.endpoint, now_s, predicted);
    flights.push_back({*request, 0, *choice.endpoint, predicted, sampling});
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
  const PromptRow& row = prompts_.rows[static_cast<std::size_t>(plan_.row_of(flight.request.slot))];
  Exchange exchange;
  exchange.prompt = row.prompt;
  exchange.completion = std::move(answer.completion);
  Provenance& provenance = exchange.provenance;
  provenance.generated_by = GeneratedBy::kTeacher;
  provenance.prompt_source = prompts_.source;
  const provider::Usage usage = answer.usage.value_or(provider::Usage());
  provenance.served = ServedBy{.api = std::string(dialect_.name()),
                               .endpoint = pool_.at(flight.endpoint).url,
                               .model = source_.teacher.model,
                               .answered_as = std::move(answer.answered_as),
                               .request_id = std::move(answer.request_id),
                               .input_tokens = usage.input,
                               .output_tokens = usage.output,
                               .reasoning_tokens = usage.reasoning};
  provenance.sampling = flight.sampling;
  provenance.code_version = std::string(kVersion);
  provenance.created_at = iso_time(world_.clock.unix_ms());
  provenance.terms = source_.terms;
  if (exchange.completion.finish_reason == FinishReason::kLength) ++truncated_;
  ++asked_;
  kept.push_back({std::move(exchange), store::Slot{job_, flight.request.slot}});
}

void RemoteJob::ask_again(InFlight& flight, const Verdict& verdict, const provider::ToldLimits& told) {
  ++failures_since_answer_;
  last_failure_ = verdict.sentence;
  last_outcome_ = verdict.outcome;
  Request request = flight.request;
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
  for (const auto& [slot, why] : given_up_) RETORT_TRY(world_.store.skip({job_, slot}, why));
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
