#include "collect/remote_collect.h"

#include <algorithm>
#include <span>
#include <utility>

#include "base/digest.h"
#include "base/files.h"
#include "base/json.h"
#include "base/text.h"
#include "base/version.h"
#include "collect/batch_job.h"
#include "collect/remote_job.h"
#include "provider/account.h"
#include "provider/openai_completions.h"
#include "provider/verdict.h"

namespace retort::collect {
namespace {

constexpr std::int64_t kCapabilityAge_ms = 7LL * 24 * 3600 * 1000;

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

// What an earlier probe of the same place and model found, unless it is old or can't be read.
std::optional<provider::Capabilities> remembered(const std::filesystem::path& file, std::int64_t unix_ms) {
  if (!is_there(file)) return std::nullopt;
  const auto text = read_file(file);
  if (!text) return std::nullopt;
  const Json json = Json::parse(*text, nullptr, false);
  if (!json.is_object() || !json.contains("probed_unix_ms")) return std::nullopt;
  if (unix_ms - json["probed_unix_ms"].get<std::int64_t>() > kCapabilityAge_ms) return std::nullopt;
  auto found = provider::capabilities_from_json(json);
  return found ? std::optional(std::move(*found)) : std::nullopt;
}

// Probes what isn't known, with every paid request in the books.
class Prober {
 public:
  Prober(const RemoteSource& source, const provider::Dialect& dialect, store::Ledger& ledger, net::Transport& transport,
         const std::filesystem::path& folder, const CollectOptions& options, const Clock& clock)
      : source_(source),
        dialect_(dialect),
        ledger_(ledger),
        transport_(transport),
        folder_(folder),
        options_(options),
        clock_(clock) {}

  Result<provider::Capabilities> all() {
    std::optional<provider::Capabilities> both;
    for (const provider::Endpoint& endpoint : source_.endpoints) {
      RETORT_ASSIGN(provider::Capabilities found, one(endpoint));
      both = both ? provider::common(*both, found) : std::move(found);
    }
    return *both;
  }

 private:
  Result<provider::Capabilities> one(const provider::Endpoint& endpoint) {
    const std::string place = std::string(dialect_.name()) + "\n" + endpoint.url + "\n" + source_.teacher.model;
    const std::filesystem::path file = folder_ / (sha256(place).hex().substr(0, 32) + ".json");
    if (auto known = remembered(file, clock_.unix_ms())) return std::move(*known);
    const provider::ProbeTarget target{dialect_, endpoint.url, endpoint.key, source_.teacher.model};
    const auto ask = [&](net::HttpCall call, std::optional<provider::WorstCase> bill) {
      return carry_out(endpoint, std::move(call), bill);
    };
    RETORT_ASSIGN(provider::Capabilities found, provider::probe(target, ask, iso_time(clock_.unix_ms())));
    Json json = provider::to_json(found);
    json["probed_unix_ms"] = clock_.unix_ms();
    json["endpoint"] = endpoint.url;
    json["model"] = source_.teacher.model;
    RETORT_TRY(make_folder(folder_));
    RETORT_TRY(write_file(file, json.dump(1) + "\n"));
    return found;
  }

  Result<net::HttpOutcome> carry_out(const provider::Endpoint& endpoint, net::HttpCall call,
                                     std::optional<provider::WorstCase> bill) {
    if (!bill) return net::perform(transport_, std::move(call));
    RETORT_ASSIGN(const store::Totals before, ledger_.totals());
    Spending spending(options_, before);
    if (!spending.fits(*bill)) {
      return world_error(
          "The budget doesn't allow even the few tokens that find out what the teacher can give. Raise "
          "collect.budget.");
    }
    store::Reservation reservation;
    reservation.slot = {"probe", -1};
    reservation.request = sha256(call.body);
    reservation.endpoint = endpoint.url;
    reservation.at_unix_ms = clock_.unix_ms();
    reservation.input_tokens = bill->input;
    reservation.output_tokens = bill->output;
    reservation.nano_usd = spending.cost(bill->input, bill->output);
    RETORT_ASSIGN(const std::vector<std::int64_t> numbers, ledger_.reserve(std::span(&reservation, 1)));
    const net::HttpOutcome outcome = net::perform(transport_, std::move(call));
    // An answer's own count where there is one; else what it can have cost.
    store::Settlement settlement;
    settlement.reservation = numbers.front();
    settlement.at_unix_ms = clock_.unix_ms();
    settlement.status = outcome.status;
    const bool refused = outcome.status >= 300 || outcome.trouble == net::Trouble::kConnect;
    settlement.outcome = refused ? "refused" : "answered";
    if (!refused) {
      const auto answer = dialect_.read(outcome);
      const bool told = answer && answer->usage;
      settlement.input_tokens = told ? answer->usage->input : bill->input;
      settlement.output_tokens = told ? answer->usage->output : bill->output;
      settlement.nano_usd = spending.cost(settlement.input_tokens, settlement.output_tokens);
    }
    RETORT_TRY(ledger_.settle(std::span(&settlement, 1)));
    return outcome;
  }

  const RemoteSource& source_;
  const provider::Dialect& dialect_;
  store::Ledger& ledger_;
  net::Transport& transport_;
  const std::filesystem::path& folder_;
  const CollectOptions& options_;
  const Clock& clock_;
};

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
  if (!open.to_ask.empty()) {
    RETORT_ASSIGN(summary.capabilities,
                  Prober(source, *dialect, ledger, transport, capability_folder, options, clock).all());
    RETORT_TRY(check_capabilities(summary.capabilities, options));
    RETORT_ASSIGN(const store::Totals before, ledger.totals());
    progress.begin("collect", static_cast<double>(open.to_ask.size()), "answers");
    const RemoteJob::World world{store, ledger, transport, clock, progress, stop};
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
