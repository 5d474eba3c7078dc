#include "collect/remote_collect.h"

#include <algorithm>
#include <span>
#include <utility>

#include "base/digest.h"
#include "base/json.h"
#include "base/text.h"
#include "base/version.h"
#include "collect/batch_job.h"
#include "collect/prober.h"
#include "collect/remote_job.h"
#include "provider/account.h"
#include "provider/openai_completions.h"
#include "provider/verdict.h"

namespace retort::collect {
namespace {

// Everything that decides what a slot's answer is; not where it is asked, nor how fast.
std::string job_name(const RemoteSource& source, const provider::Dialect& dialect, const RemotePrompts& prompts,
                     const CollectOptions& options) {
  Json parts = {{"version", 1},
                {"api", dialect.name()},
                {"model", source.teacher.model},
                {"prompts", prompts.digest},
                {"samples_per_prompt", options.samples_per_prompt},
                {"max_tokens", options.max_tokens},
                {"temperature", options.temperature},
                {"top_p", options.top_p},
                {"top_k", options.top_k},
                {"min_p", options.min_p},
                {"seed", options.seed},
                {"system", options.system}};
  parts["logprobs"] = options.logprobs ? Json(*options.logprobs) : Json();
  return "collect-" + sha256(canonical_json(parts)).hex();
}

Result<void> check_capabilities(const provider::Capabilities& capabilities, const CollectOptions& options) {
  const std::string gives = "The teacher gives " + capabilities.sentence();
  if (options.batched() && !capabilities.batch) {
    return caller_error(gives +
                        ", but collect.mode is batch, and there is no batch API at its endpoint; expected direct.");
  }
  if (!options.logprobs) return {};
  if (!capabilities.top_logprobs) {
    return caller_error(gives +
                        ", but collect.logprobs asks for log-probabilities. Leave it out: train.objective ce (the "
                        "cross-entropy of the teacher's text) works with text alone.");
  }
  if (*capabilities.top_logprobs < *options.logprobs) {
    return caller_error(gives + ", but collect.logprobs asks for " + std::to_string(*options.logprobs) +
                        "; expected at most " + std::to_string(*capabilities.top_logprobs) + ".");
  }
  return {};
}

// Batches belong to one account, and what they hold isn't asked in another way meanwhile.
Result<void> check_mode(const RemoteSource& source, const CollectOptions& options, const std::string& job,
                        const store::Batches& batches) {
  if (options.batched()) {
    if (source.endpoints.size() == 1) return {};
    return caller_error("collect.mode is batch, but teacher.endpoints names " +
                        std::to_string(source.endpoints.size()) + " endpoints; expected one.");
  }
  RETORT_ASSIGN(const std::vector<store::BatchRecord> under_way, batches.under_way(job));
  if (under_way.empty()) return {};
  return caller_error(human_count(static_cast<std::int64_t>(under_way.size())) +
                      " batches of this collection are under way at the service, and asking for their answers again "
                      "would pay twice; expected collect.mode batch, which fetches them, or `retort collect "
                      "--reconcile worst|nothing` first, which gives them up.");
}

// What an earlier recipe handed over is paid for, and nobody would fetch it once this one is asked for.
Result<void> check_others(const std::string& job, const store::Batches& batches) {
  RETORT_ASSIGN(const std::vector<store::BatchRecord> others, batches.under_way_of_others(job));
  if (others.empty()) return {};
  std::int64_t requests = 0;
  for (const store::BatchRecord& batch : others) requests += batch.requests();
  return world_error(human_count(static_cast<std::int64_t>(others.size())) + " batches (" + human_count(requests) +
                     " requests) that an earlier recipe of this run handed over are under way at " +
                     others.front().endpoint +
                     ". The same command fetches them once they have ended, if that recipe's prompts are as they were; "
                     "`retort collect --reconcile worst|nothing` gives them up.");
}

// A row that came with its answer is kept as it is.
Exchange answered_exchange(const PromptRow& row, const RemoteSource& source, const RemotePrompts& prompts,
                           const Clock& clock) {
  Exchange exchange;
  exchange.prompt = row.prompt;
  exchange.completion = {.text = *row.answer, .finish_reason = FinishReason::kUnknown};
  exchange.provenance.generated_by = GeneratedBy::kFile;
  exchange.provenance.prompt_source = prompts.source;
  exchange.provenance.code_version = std::string(kVersion);
  exchange.provenance.created_at = iso_time(clock.unix_ms());
  exchange.provenance.terms = source.terms;
  return exchange;
}

Result<void> store_answered(std::span<const std::int64_t> slots, const SlotPlan& plan, const std::string& job,
                            const RemoteSource& source, const RemotePrompts& prompts, store::ExchangeStore& store,
                            const Clock& clock) {
  constexpr std::size_t kTransaction = 1024;
  for (std::size_t begin = 0; begin < slots.size(); begin += kTransaction) {
    std::vector<store::NewExchange> group;
    for (const std::int64_t slot : slots.subspan(begin, std::min(kTransaction, slots.size() - begin))) {
      RETORT_ASSIGN(const PromptRow row, prompts.rows.at(plan.row_of(slot)));
      group.push_back({answered_exchange(row, source, prompts, clock), store::Slot{job, slot}});
    }
    RETORT_TRY(store.add(group));
  }
  return {};
}

struct Open {
  std::vector<std::int64_t> to_ask;
  std::vector<std::int64_t> to_store;  // came with their answer
  std::int64_t from_file = 0;          // all of these, those stored before included
  std::int64_t planned = 0;
  std::int64_t done = 0;
};

Result<Open> open_slots(const SlotPlan& plan, const std::string& job, const RemotePrompts& prompts,
                        const store::ExchangeStore& store) {
  std::vector<bool> done(static_cast<std::size_t>(plan.slots()), false);
  Open open;
  RETORT_TRY(store.for_each_slot(job, [&](const store::SlotEntry& entry) -> Result<void> {
    if (entry.slot < plan.slots()) {
      done[static_cast<std::size_t>(entry.slot)] = true;
      ++open.done;
    }
    return {};
  }));
  for (std::int64_t slot = 0; slot < plan.slots(); ++slot) {
    const bool answered = prompts.rows.answered(plan.row_of(slot));
    if (!plan.is_used(slot, answered)) continue;
    ++open.planned;
    if (answered) ++open.from_file;
    if (done[static_cast<std::size_t>(slot)]) continue;
    (answered ? open.to_store : open.to_ask).push_back(slot);
  }
  return open;
}

Result<void> finish(RemoteSummary& summary, const SlotPlan& plan, const std::string& job,
                    const store::ExchangeStore& store, const store::Ledger& ledger) {
  RETORT_TRY(store.for_each_slot(job, [&](const store::SlotEntry& entry) -> Result<void> {
    if (entry.slot >= plan.slots()) return {};
    ++summary.committed;
    if (entry.exchange) {
      summary.ids.push_back(*entry.exchange);
    } else {
      ++summary.given_up;
    }
    return {};
  }));
  RETORT_ASSIGN(summary.totals, ledger.totals());
  summary.complete = summary.committed == summary.planned && summary.stopped == Stopped::kNot;
  return {};
}

}  // namespace

std::string_view name_of(Stopped stopped) {
  switch (stopped) {
    case Stopped::kNot: return "";
    case Stopped::kBudget: return "budget";
    case Stopped::kSignal: return "signal";
    case Stopped::kWorld: return "world";
  }
  return "";
}

Json to_json(const RemoteSummary& summary) {
  const auto usd = [](store::NanoUsd nano) { return static_cast<double>(nano) / 1e9; };
  Json json = {{"planned", summary.planned},
               {"committed", summary.committed},
               {"asked", summary.asked},
               {"from_file", summary.from_file},
               {"given_up", summary.given_up},
               {"attempts", summary.totals.attempts},
               {"failed", summary.totals.attempts - summary.totals.answered - summary.totals.open_attempts},
               {"input_tokens", summary.totals.input_tokens},
               {"output_tokens", summary.totals.output_tokens},
               {"reasoning_tokens", summary.totals.reasoning_tokens},
               {"spent_usd", usd(summary.totals.nano_usd)},
               {"reserved_usd", usd(summary.totals.reserved_nano_usd)},
               {"reserved_tokens", summary.totals.reserved_tokens},
               {"open_attempts", summary.totals.open_attempts},
               {"complete", summary.complete},
               {"batches_under_way", summary.batches_under_way},
               {"seconds", summary.seconds},
               {"why", summary.why},
               {"capabilities", provider::to_json(summary.capabilities)}};
  if (const auto& dropped = summary.dropped_turns) {
    json["dropped_turns"] = {
        {"empty", dropped->empty}, {"cut", dropped->cut}, {"refused", dropped->refused}, {"broken", dropped->broken}};
  }
  json["stopped"] = summary.stopped == Stopped::kNot ? Json() : Json(name_of(summary.stopped));
  return json;
}

Result<const provider::Dialect*> dialect_of(const TeacherOptions& teacher) {
  if (teacher.api == "openai") return &provider::openai_chat();
  if (teacher.api == "openai_responses") return &provider::openai_responses();
  if (teacher.api == "openai_completions") return &provider::openai_completions();
  if (teacher.api == "anthropic") return &provider::anthropic_messages();
  return caller_error(
      "teacher.api is '" + teacher.api +
      "', which is not asked over HTTP; expected openai, openai_responses, openai_completions or anthropic.");
}

Result<std::vector<provider::Endpoint>> open_endpoints(
    const TeacherOptions& teacher, const std::function<std::optional<std::string>(const std::string&)>& environment) {
  std::vector<provider::EndpointPlace> places;
  places.reserve(teacher.endpoints.size());
  for (const EndpointOptions& endpoint : teacher.endpoints) {
    places.push_back({.url = endpoint.url,
                      .key_env = endpoint.key_env,
                      .key_file = endpoint.key_file,
                      .requests_per_minute = static_cast<double>(endpoint.requests_per_minute),
                      .tokens_per_minute = static_cast<double>(endpoint.tokens_per_minute)});
  }
  return provider::open_endpoints(places, teacher.organisation, environment);
}

Result<RemoteSummary> collect_remote(const RemoteSource& source, const RemotePrompts& prompts,
                                     const CollectOptions& options, store::ExchangeStore& store,
                                     net::Transport& transport, const std::filesystem::path& capability_folder,
                                     const Clock& clock, Progress& progress, std::stop_token stop) {
  const double started_s = clock.monotonic_s();
  const provider::Dialect* dialect = source.dialect;
  if (dialect == nullptr) {
    RETORT_ASSIGN(dialect, dialect_of(source.teacher));
  }
  if (options.durability == "full") RETORT_TRY(store.survive_power_loss());
  RETORT_ASSIGN(store::Ledger ledger, store::Ledger::open(store));
  const SlotPlan plan(options, prompts.rows.size());
  const std::string job = job_name(source, *dialect, prompts, options);
  store::Batches batches(ledger);
  RETORT_TRY(check_mode(source, options, job, batches));
  if (!prompts.nothing_new) RETORT_TRY(check_others(job, batches));
  RETORT_ASSIGN(Open open, open_slots(plan, job, prompts, store));
  if (prompts.nothing_new) open.to_store.clear();
  RemoteSummary summary;
  summary.planned = open.planned;
  summary.from_file = open.from_file;
  RETORT_TRY(store_answered(open.to_store, plan, job, source, prompts, store, clock));
  const RemoteJob::World world{store, ledger, transport, clock, progress, std::move(stop)};
  Prober prober(source, *dialect, options, capability_folder, world);
  if (!open.to_ask.empty()) {
    auto found = prober.all();
    if (found) {
      summary.capabilities = std::move(*found);
    } else if (prober.gave_up_waiting()) {
      summary.stopped = found.error().fault == Fault::kInterrupted ? Stopped::kSignal : Stopped::kWorld;
      summary.why = found.error().message;
      open.to_ask.clear();
    } else {
      return Failure(found.error());
    }
  }
  if (!open.to_ask.empty()) {
    RETORT_TRY(check_capabilities(summary.capabilities, options));
    RETORT_ASSIGN(const store::Totals before, ledger.totals());
    progress.begin("collect", static_cast<double>(open.to_ask.size()), "answers");
    const auto carry_out = [&](auto work) -> Result<void> {
      RETORT_TRY(work.run());
      work.report(summary);
      progress.end(human_count(summary.asked) + " answers");
      if (work.refusal()) return Failure(*work.refusal());
      return {};
    };
    if (options.batched()) {
      RETORT_TRY(carry_out(BatchJob(source, *dialect, prompts, options, plan, job, std::move(open.to_ask),
                                    summary.capabilities, before, batches, world)));
    } else {
      RETORT_TRY(carry_out(RemoteJob(source, *dialect, prompts, options, plan, job, std::move(open.to_ask),
                                     summary.capabilities, before, world)));
    }
  }
  RETORT_TRY(finish(summary, plan, job, store, ledger));
  summary.seconds = clock.monotonic_s() - started_s;
  return summary;
}

}  // namespace retort::collect
