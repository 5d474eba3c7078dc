#include "collect/collect.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/files.h"
#include "base/json.h"
#include "base/text.h"
#include "base/version.h"
#include "collect/collect_job.h"
#include "collect/prompts.h"

namespace retort::collect {
namespace {

// Everything that decides what a slot's answer is. The type the teacher computes in is left out: a probe may choose
// another after a restart, and the answers are as good.
std::string job_name(const tokens::ChatFormat& format, const Source& source, const CollectOptions& options,
                     const std::string& file_digest, const std::optional<Digest>& altered) {
  Json parts = {{"version", 1},
                {"model", source.model.file_digest.hex()},
                {"template", format.template_digest().hex()},
                {"tokenizer", format.tokenizer().fingerprint().hex()},
                {"prompts", file_digest},
                {"max_tokens", options.max_tokens},
                {"max_user_tokens", options.self_generated() ? options.max_user_tokens : 0},
                {"temperature", options.temperature},
                {"top_p", options.top_p},
                {"top_k", options.top_k},
                {"min_p", options.min_p},
                {"seed", options.seed},
                {"system", options.system}};
  // Written only where they matter, so that collections without them keep their name.
  if (options.samples_per_prompt > 1) parts["samples_per_prompt"] = options.samples_per_prompt;
  if (altered) parts["altered"] = altered->hex();
  return "collect-" + sha256(canonical_json(parts)).hex();
}

Result<void> check_options(const CollectOptions& options) {
  recipe::Problems problems;
  collect_option_set().run_checks(options, problems);
  if (!problems.empty()) {
    return caller_error(problems.list().front().key + " " + problems.list().front().sentence + ".");
  }
  if (options.count < 0 || options.max_tokens < 1 || options.max_user_tokens < 1 || options.attempts < 1) {
    return caller_error("collect.count, max_tokens, max_user_tokens and attempts must be positive.");
  }
  return {};
}

// Room for prompt and answer is checked for every row before the first is asked.
Result<void> check_lengths(const Work& work, const tokens::ChatFormat& format, std::size_t context_tokens,
                           std::int64_t max_tokens) {
  for (const std::int64_t slot : work.slots) {
    RETORT_ASSIGN(const PromptRow row, work.row_of(slot));
    const std::string where = work.prompt_source + ", line " + std::to_string(row.line);
    const auto ids = format.prompt_ids(row.prompt);
    if (!ids) return with_context(ids.error(), where);
    if (ids->size() + static_cast<std::size_t>(max_tokens) > context_tokens) {
      return caller_error(where + ": the prompt is " + human_count(static_cast<std::int64_t>(ids->size())) +
                          " tokens long, which with an answer of up to " + human_count(max_tokens) +
                          " is more than the context of " + human_count(static_cast<std::int64_t>(context_tokens)) +
                          "; shorten it, or lower collect.max_tokens.");
    }
  }
  return {};
}

// A row that came with its answer.
Result<Exchange> exchange_of(const PromptRow& row, const tokens::ChatFormat& format, const std::string& prompt_source,
                             const Source& source, const Clock& clock) {
  Exchange exchange;
  exchange.prompt = row.prompt;
  exchange.completion = {*row.answer, FinishReason::kUnknown};
  exchange.completion.tool_calls = row.answer_tool_calls;
  const std::string where = prompt_source + ", line " + std::to_string(row.line);
  // Tools are refused in the words of the template, not lost.
  if (!row.prompt.tools.empty()) {
    const auto refused = format.prompt_ids(row.prompt);
    if (!refused) return with_context(refused.error(), where);
  }
  std::vector<Message> messages = row.prompt.messages;
  messages.push_back({Role::kAssistant, *row.answer, row.answer_tool_calls});
  auto tokens = format.render(messages, false);
  if (!tokens) return with_context(tokens.error(), where);
  exchange.tokens = std::move(*tokens);
  exchange.provenance.generated_by = GeneratedBy::kFile;
  exchange.provenance.prompt_source = prompt_source;
  exchange.provenance.code_version = std::string(kVersion);
  exchange.provenance.created_at = iso_time(clock.unix_ms());
  exchange.provenance.terms = source.terms;
  return exchange;
}

// Stores the slots that need no asking, and leaves the others in work.slots.
Result<std::int64_t> store_answered(Work& work, const tokens::ChatFormat& format, const Source& source,
                                    store::ExchangeStore& store, const Clock& clock, const std::stop_token& stop) {
  constexpr std::size_t kTransaction = 256;
  std::vector<std::int64_t> to_ask;
  std::vector<store::NewExchange> batch;
  std::int64_t stored = 0;
  const auto flush = [&]() -> Result<void> {
    if (batch.empty()) return {};
    RETORT_TRY(store.add(batch));
    stored += static_cast<std::int64_t>(batch.size());
    batch.clear();
    return {};
  };
  for (const std::int64_t slot : work.slots) {
    if (!work.rows->answered(work.plan.row_of(slot))) {
      to_ask.push_back(slot);
      continue;
    }
    RETORT_ASSIGN(const PromptRow row, work.row_of(slot));
    if (stop.stop_requested()) {
      RETORT_TRY(flush());
      return interrupted("Stopped on request; the rows read so far are stored.");
    }
    RETORT_ASSIGN(Exchange exchange, exchange_of(row, format, work.prompt_source, source, clock));
    batch.push_back({std::move(exchange), store::Slot{work.job, slot}});
    if (batch.size() >= kTransaction) RETORT_TRY(flush());
  }
  RETORT_TRY(flush());
  work.slots = std::move(to_ask);
  return stored;
}

// Counts over everything that was kept, also by earlier calls.
Result<void> add_kept(const Work& work, const store::ExchangeStore& store, CollectSummary& summary) {
  RETORT_ASSIGN(const std::vector<store::SlotEntry> entries, store.slots(work.job));
  for (const store::SlotEntry& entry : entries) {
    if (!entry.exchange || entry.slot >= work.total) continue;
    summary.ids.push_back(*entry.exchange);
    RETORT_ASSIGN(const Exchange exchange, store.get(*entry.exchange));
    if (exchange.completion.finish_reason == FinishReason::kLength) ++summary.truncated_answers;
    for (const TokenSpan& span : exchange.tokens.spans) {
      if (!span.sampled) continue;
      (span.kind == SpanKind::kUser ? summary.user_tokens : summary.answer_tokens) += span.end - span.begin;
    }
  }
  return {};
}

}  // namespace

Result<CollectSummary> collect(TokenGenerator& generator, const tokens::ChatFormat& format, const Source& source,
                               const CollectOptions& options, const PromptSpool* prompts, store::ExchangeStore& store,
                               const Clock& clock, Progress& progress, std::stop_token stop) {
  RETORT_TRY(check_options(options));
  CollectSummary summary;
  Work work;
  work.prompt_source = "self_generated";
  work.plan = SlotPlan(options, options.count);
  work.total = options.count;
  std::string file_digest = "self_generated";
  if (!options.self_generated()) {
    RETORT_CHECK(prompts != nullptr);
    file_digest = prompts->file_digest().hex();
    work.rows = prompts;
    summary.intake = prompts->intake();
    work.prompt_source = std::filesystem::path(options.prompts_file()).filename().string();
    work.plan = SlotPlan(options, prompts->size());
    work.total = work.plan.slots();
  }
  work.job = job_name(format, source, options, file_digest, summary.intake.altered);

  RETORT_ASSIGN(const std::vector<store::SlotEntry> entries, store.slots(work.job));
  std::vector<bool> done(static_cast<std::size_t>(work.total));
  for (const store::SlotEntry& entry : entries) {
    if (entry.slot < 0 || entry.slot >= work.total) continue;
    done[static_cast<std::size_t>(entry.slot)] = true;
    ++(entry.exchange ? summary.reused : summary.slots_given_up);
  }
  std::int64_t unused = 0;  // further samples of rows that came with their answer
  for (std::int64_t slot = 0; slot < work.total; ++slot) {
    if (done[static_cast<std::size_t>(slot)]) continue;
    if (work.rows == nullptr || work.plan.is_used(slot, work.rows->answered(work.plan.row_of(slot)))) {
      work.slots.push_back(slot);
    } else {
      ++unused;
    }
  }

  if (!options.self_generated() && !work.slots.empty()) {
    RETORT_ASSIGN(summary.from_file, store_answered(work, format, source, store, clock, stop));
    RETORT_TRY(check_lengths(work, format, generator.context_tokens(), options.max_tokens));
  }
  work.done = work.total - unused - static_cast<std::int64_t>(work.slots.size());
  if (!work.slots.empty()) {
    CollectJob job(work, format, source, options, store, clock, progress);
    if (options.self_generated()) RETORT_TRY(job.prepare_self_generation(generator.context_tokens()));
    progress.begin("collect", static_cast<double>(work.total - unused), "exchanges");
    progress.advance(static_cast<double>(work.done), "");
    const Result<void> generated = generator.generate(job, stop);
    job.report(summary);
    progress.end(human_count(summary.asked) + " exchanges asked, " +
                 human_count(static_cast<std::int64_t>(summary.full.tokens_per_s())) +
                 " tokens/s while the batch was full");
    if (job.failure()) return Failure(*job.failure());
    RETORT_TRY(generated);
  }
  RETORT_TRY(add_kept(work, store, summary));
  return summary;
}

}  // namespace retort::collect
