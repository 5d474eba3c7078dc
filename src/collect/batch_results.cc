// The second half of a BatchJob: looking for and at what is under way, and what is kept of its results.
#include <algorithm>

#include "base/text.h"
#include "collect/batch_job.h"
#include "provider/verdict.h"

namespace retort::collect {
namespace {

using provider::Verdict;

// Searches without a find before a batch is known not to be there, batch_poll_s apart.
constexpr int kSearches = 3;
constexpr int kPages = 10;  // of the account's list that a search goes through
constexpr std::size_t kTransaction = 512;
// Refusals of single requests before any answer: then it isn't the requests.
constexpr std::int64_t kRefusalsAtStart = 3;

}  // namespace

void BatchJob::look_failed(UnderWay& batch, const Verdict& verdict) {
  last_failure_ = verdict.sentence;
  const std::string& name = batch.record.id.empty() ? batch.record.name : batch.record.id;
  const double now_s = world_.clock.monotonic_s();
  if (batch.failing_since_s < 0) batch.failing_since_s = now_s;
  const bool final = verdict.kind == Verdict::Kind::kStop || verdict.kind == Verdict::Kind::kGiveUp;
  if (final && !stopping()) {
    end(Stopped::kWorld,
        "The batch " + name + " can't be looked at: " + verdict.sentence +
            " The same command tries again; `retort collect --reconcile worst|nothing` gives the batch up.");
  } else if (now_s - batch.failing_since_s >= options_.patience_s) {
    end(Stopped::kWorld, "The batch " + name + " couldn't be looked at for " + human_seconds(options_.patience_s) +
                             ", last: " + verdict.sentence + " The same command goes on when the service is back.");
  }
  schedule(batch, false);
}

Result<bool> BatchJob::look(UnderWay& batch) {
  if (batch.record.id.empty()) return search(batch);
  net::HttpCall call;
  call.method = "GET";
  call.url = api_.path_of(batch.record.id);
  const net::HttpOutcome outcome = ask(std::move(call), false);
  Verdict verdict = judge(outcome);
  if (verdict.kind == Verdict::Kind::kAnswered) {
    const auto state = api_.state(outcome.body);
    if (state) {
      if (state->ended) return fetch(batch, *state);
      batch.failing_since_s = -1;
      show(state->status);
      schedule(batch, false);
      return false;
    }
    verdict = {};
    verdict.sentence = place_.url + ": " + state.error().message;
  }
  look_failed(batch, verdict);
  return false;
}

// Among the account's batches, one whose creation was never heard of.
Result<bool> BatchJob::search(UnderWay& batch) {
  std::string path = api_.list_path();
  bool perhaps = false;
  for (int page_number = 0; page_number < kPages && !path.empty(); ++page_number) {
    net::HttpCall call;
    call.method = "GET";
    call.url = path;
    const net::HttpOutcome outcome = ask(std::move(call), false);
    Verdict verdict = judge(outcome);
    auto page = api_.page(outcome.body);
    if (verdict.kind != Verdict::Kind::kAnswered || !page) {
      if (verdict.kind == Verdict::Kind::kAnswered) {
        verdict = {};
        verdict.sentence = place_.url + ": " + page.error().message;
      }
      look_failed(batch, verdict);
      return false;
    }
    for (const provider::BatchState& state : page->batches) {
      if (state.name == batch.record.name) return adopt(batch, state.id);
      // An API that keeps no names tells whose a batch is by its results alone.
      if (!state.name.empty() || state.requests != batch.record.requests() || api_.uploads()) continue;
      RETORT_ASSIGN(const bool known, batches_.knows(state.id));
      if (known) continue;
      const std::optional<bool> ours = state.ended ? is_ours(batch, state) : std::nullopt;
      if (ours == true) return adopt(batch, state.id);
      if (!ours) perhaps = true;
    }
    path = page->next;
  }
  batch.failing_since_s = -1;
  if (!perhaps && ++batch.searches >= kSearches) {
    world_.progress.note("A batch of " + human_count(batch.record.requests()) +
                         " requests was never created at the service; they are asked anew.");
    RETORT_TRY(take_back(batch.record, 0, "not created", false));
    return true;
  }
  batch.interval_s = options_.batch_poll_s;
  schedule(batch, false);
  return false;
}

Result<bool> BatchJob::adopt(UnderWay& batch, const std::string& id) {
  batch.record.id = id;
  RETORT_TRY(batches_.note(batch.record, store::kBatchSent, id, world_.clock.unix_ms()));
  schedule(batch, true);
  return false;
}

std::optional<bool> BatchJob::is_ours(const UnderWay& batch, const provider::BatchState& state) {
  if (state.results.empty()) return false;
  net::HttpCall call;
  call.method = "GET";
  call.url = state.results.front();
  const net::HttpOutcome outcome = ask(std::move(call), false);
  if (judge(outcome).kind != Verdict::Kind::kAnswered) return std::nullopt;
  const std::string first = outcome.body.substr(0, outcome.body.find('\n'));
  bool ours = false;
  const auto read = api_.for_each_result(first, [&](const provider::BatchResult& result) -> Result<void> {
    ours = provider::slot_of_batch_request(batch.record.name, result.id) >= 0;
    return {};
  });
  if (!read) return std::nullopt;
  return ours;
}

Result<bool> BatchJob::fetch(UnderWay& batch, const provider::BatchState& state) {
  RETORT_ASSIGN(Lines lines, batches_.open_lines(batch.record));
  for (const std::string& path : state.results) {
    net::HttpCall call;
    call.method = "GET";
    call.url = path;
    const net::HttpOutcome outcome = ask(std::move(call), false);
    const Verdict verdict = judge(outcome);
    if (verdict.kind != Verdict::Kind::kAnswered) {
      look_failed(batch, verdict);
      return false;
    }
    RETORT_TRY(take_results(batch.record, outcome.body, lines));
  }
  if (state.refused || (state.results.empty() && state.status != "completed")) {
    // As a whole: too much for what may be queued, not to its liking, or never begun.
    last_failure_ = place_.url + " ended the batch as '" + state.status + "'." +
                    (state.why.empty() ? "" : " It says: " + state.why.substr(0, 300));
    // Others that are under way may be why.
    RETORT_TRY(take_back(batch.record, 200, state.status, under_way_.size() == 1));
    most_under_way_ = std::max<std::size_t>(1, under_way_.size() - 1);
    hold_until_s_ = world_.clock.monotonic_s() + options_.batch_poll_s;
    return true;
  }
  // What it doesn't speak of may have been billed.
  Writing writing;
  for (const auto& [slot, line] : lines) {
    store::Settlement settlement;
    settlement.reservation = line.reservation;
    settlement.at_unix_ms = world_.clock.unix_ms();
    settlement.outcome = "missing";
    settlement.input_tokens = line.input_tokens;
    settlement.output_tokens = line.output_tokens;
    settlement.nano_usd = spending_.cost(line.input_tokens, line.output_tokens);
    spending_.settle(line, line.input_tokens, line.output_tokens);
    writing.settlements.push_back(std::move(settlement));
    again(slot, "missing", place_.url + " ended a batch without a word of some of its requests.");
  }
  const Result<void> ended = world_.store.together([&]() -> Result<void> {
    RETORT_TRY(write(writing));
    return batches_.note(batch.record, store::kBatchEnded, state.status, world_.clock.unix_ms());
  });
  if (!ended) return Failure(ended.error());
  if (asked_ > 0) return true;
  if (gave_up_ >= kRefusalsAtStart || (gave_up_ > 0 && !anything_left())) {
    refusal_ = Error{Fault::kCaller, "The first " + std::to_string(gave_up_) +
                                         " requests were refused, so it isn't a single prompt: " + last_failure_ +
                                         " Expected settings that the service takes."};
    end(Stopped::kWorld, last_failure_);
  }
  return true;
}

Result<void> BatchJob::take_results(const store::BatchRecord& batch, const std::string& text, Lines& lines) {
  Writing writing;
  Result<void> written;
  // A line that is broken ends what can be read of this file; what it doesn't tell is missing.
  static_cast<void>(api_.for_each_result(text, [&](provider::BatchResult result) -> Result<void> {
    // One line settles one request: what is told twice, or of another batch, is passed over.
    const auto line = lines.find(provider::slot_of_batch_request(batch.name, result.id));
    if (line == lines.end()) return {};
    written = take(line->first, line->second, result, writing);
    lines.erase(line);
    if (written && writing.settlements.size() >= kTransaction) written = write(writing);
    return written;
  }));
  RETORT_TRY(written);
  return write(writing);
}

Result<void> BatchJob::take(std::int64_t slot, const store::OpenLine& line, provider::BatchResult& result,
                            Writing& writing) {
  store::Settlement settlement;
  settlement.reservation = line.reservation;
  settlement.at_unix_ms = world_.clock.unix_ms();
  if (!result.lapsed.empty()) {
    settlement.outcome = result.lapsed;
    spending_.settle(line, 0, 0);
    writing.settlements.push_back(std::move(settlement));
    again(slot, result.lapsed, place_.url + " left requests of a batch undone (" + result.lapsed + ").");
    return {};
  }
  Verdict verdict = provider::judge(dialect_, result.outcome, {}, place_.url, place_.key);
  const bool answered = verdict.kind == Verdict::Kind::kAnswered;
  provider::Usage usage;
  if (answered ? !verdict.answer.usage : verdict.maybe_billed) usage = {line.input_tokens, line.output_tokens, 0};
  if (answered && verdict.answer.usage) usage = *verdict.answer.usage;
  settlement.status = result.outcome.status;
  settlement.outcome = verdict.outcome;
  settlement.input_tokens = usage.input;
  settlement.output_tokens = usage.output;
  settlement.reasoning_tokens = usage.reasoning;
  settlement.nano_usd = spending_.cost(usage.input, usage.output);
  writing.settlements.push_back(std::move(settlement));
  spending_.settle(line, usage.input, usage.output);
  if (spending_.capped() && (usage.output > line.output_tokens || usage.input > line.input_tokens)) {
    end(Stopped::kWorld, place_.url + " counted " + human_count(usage.input + usage.output) + " tokens where at most " +
                             human_count(line.input_tokens + line.output_tokens) +
                             " were reserved: it doesn't keep to the limit that was sent, so no cap can be kept with "
                             "it. Ask for more with collect.max_tokens, or collect without a budget.");
  }
  switch (verdict.kind) {
    case Verdict::Kind::kAnswered: {
      RETORT_ASSIGN(PromptRow row, requests_.row(slot));
      if (verdict.answer.completion.finish_reason == FinishReason::kLength) ++truncated_;
      ++asked_;
      writing.kept.push_back(
          requests_.answered(slot, std::move(row), std::move(verdict.answer), place_.url, world_.clock.unix_ms()));
      break;
    }
    case Verdict::Kind::kRetry: again(slot, verdict.outcome, verdict.sentence); break;
    case Verdict::Kind::kGiveUp:
      ++gave_up_;
      last_failure_ = verdict.sentence;
      given_up_.emplace_back(slot, verdict.sentence);
      break;
    case Verdict::Kind::kStop:
      if (asked_ == 0 && verdict.fault == Fault::kCaller) refusal_ = Error{verdict.fault, verdict.sentence};
      end(Stopped::kWorld, verdict.sentence);
      again_.push_back(slot);
      break;
  }
  return {};
}

Result<void> BatchJob::write(Writing& writing) {
  const Result<void> written = world_.store.together([&]() -> Result<void> {
    RETORT_TRY(world_.ledger.settle(writing.settlements));
    const auto added = world_.store.add(writing.kept);
    if (!added) return Failure(added.error());
    // Slots that the service will never answer are done too, once it is known that it answers others.
    if (asked_ == 0) return {};
    for (const auto& [slot, why] : given_up_) RETORT_TRY(world_.store.skip(requests_.slot(slot), why));
    given_up_.clear();
    return {};
  });
  writing.settlements.clear();
  writing.kept.clear();
  return written;
}

}  // namespace retort::collect
