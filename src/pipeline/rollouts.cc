#include "pipeline/rollouts.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/random.h"
#include "base/version.h"
#include "exchange/engine.h"
#include "tokens/tokenizer.h"

namespace retort::pipeline {
namespace {

// Only the answer, which is the last span, is learnt from.
dataset::Example example_of(const Digest& id, const TokenizedConversation& tokens) {
  dataset::Example example;
  example.exchange_id = id;
  example.ids = tokens.ids;
  example.supervised.assign(tokens.ids.size(), 0);
  const TokenSpan& answer = tokens.spans.back();
  std::fill(example.supervised.begin() + answer.begin, example.supervised.begin() + answer.end, 1);
  return example;
}

std::string job_of(const train::RolloutRound& round) {
  return "rollouts of " + round.fingerprint + ", round " + std::to_string(round.number);
}

}  // namespace

Rollouts::Rollouts(store::ExchangeStore store, std::vector<Exchange> exchanges, const tokens::ChatFormat& format,
                   RolloutOptions options, const Clock& clock)
    : store_(std::move(store)),
      exchanges_(std::move(exchanges)),
      format_(&format),
      options_(std::move(options)),
      clock_(&clock) {
  std::size_t tokens = 0;
  for (const Exchange& exchange : exchanges_) tokens += exchange.tokens.ids.size();
  if (!exchanges_.empty()) mean_tokens_ = static_cast<double>(tokens) / static_cast<double>(exchanges_.size());
}

Result<Rollouts> Rollouts::open(const std::filesystem::path& store, std::vector<Exchange> exchanges,
                                const tokens::ChatFormat& format, RolloutOptions options, const Clock& clock) {
  std::erase_if(exchanges, [&](const Exchange& exchange) {
    const std::size_t prompt = prompt_of(exchange).ids.size();
    return prompt == 0 || prompt + static_cast<std::size_t>(options.sampling.max_tokens) > options.context_tokens;
  });
  if (exchanges.empty()) {
    return caller_error("No training exchange has a prompt that leaves room for an answer of " +
                        std::to_string(options.sampling.max_tokens) + " tokens in a context of " +
                        std::to_string(options.context_tokens) +
                        "; the student can't be asked. Lower train.rollout_tokens, or set train.on_policy_from to 1.");
  }
  RETORT_ASSIGN(store::ExchangeStore opened, store::ExchangeStore::open(store));
  return Rollouts(std::move(opened), std::move(exchanges), format, std::move(options), clock);
}

TokenizedConversation Rollouts::prompt_of(const Exchange& exchange) {
  TokenizedConversation prompt = exchange.tokens;
  while (!prompt.spans.empty() && prompt.spans.back().kind != SpanKind::kAssistant) prompt.spans.pop_back();
  prompt.ids.resize(prompt.spans.empty() ? 0 : prompt.spans.back().begin);
  if (!prompt.spans.empty()) prompt.spans.pop_back();
  return prompt;
}

std::vector<std::size_t> Rollouts::asked_in(const train::RolloutRound& round) const {
  // An endless row of shuffled passes, of which each round takes the next part.
  const auto count = static_cast<std::size_t>(std::ceil(static_cast<double>(round.tokens) / mean_tokens_));
  const std::size_t begin = static_cast<std::size_t>(round.number) * count;
  std::vector<std::size_t> asked;
  std::vector<std::size_t> order(exchanges_.size());
  std::size_t pass = order.size();  // none yet
  for (std::size_t i = begin; i < begin + std::max<std::size_t>(count, 1); ++i) {
    if (i / order.size() != pass || asked.empty()) {
      pass = i / order.size();
      for (std::size_t j = 0; j < order.size(); ++j) order[j] = j;
      Random(derive_seed(options_.sampling.seed, "rollout order", pass)).shuffle(order);
    }
    asked.push_back(order[i % order.size()]);
  }
  return asked;
}

Exchange Rollouts::exchange(const Exchange& asked, TokenizedConversation tokens, FinishReason reason,
                            const train::RolloutRound& round, const SamplingOptions& sampling) const {
  Exchange made;
  made.prompt = asked.prompt;
  const TokenSpan& span = tokens.spans.back();
  auto answer = std::span<const TokenId>(tokens.ids).subspan(span.begin, span.end - span.begin);
  if (reason == FinishReason::kEnd) answer = answer.first(answer.size() - 1);
  made.completion = {tokens::sampled_text(format_->tokenizer(), answer), reason};
  made.tokens = std::move(tokens);
  Provenance& provenance = made.provenance;
  provenance.generated_by = GeneratedBy::kStudent;
  provenance.prompt_source = "rollout";
  ModelIdentity student;
  student.name = options_.student_name + " after step " + std::to_string(round.step);
  student.file_digest = sha256(round.fingerprint);
  student.template_digest = format_->template_digest();
  student.run_as = options_.run_as;
  provenance.model = std::move(student);
  provenance.sampling = sampling;
  provenance.code_version = std::string(kVersion);
  provenance.created_at = iso_time(clock_->unix_ms());
  provenance.terms = asked.provenance.terms;
  provenance.derived_from = {exchange_id(asked)};
  return made;
}

Result<std::vector<dataset::Example>> Rollouts::round(TokenGenerator& student, const train::RolloutRound& round,
                                                      std::stop_token stop) {
  std::vector<dataset::Example> examples;
  RETORT_ASSIGN(const std::vector<store::SlotEntry> entries, store_.slots(job_of(round)));
  for (const store::SlotEntry& entry : entries) {
    RETORT_ASSIGN(const Exchange made, store_.get(entry.exchange.value_or(Digest())));
    examples.push_back(example_of(*entry.exchange, made.tokens));
  }
  if (!examples.empty()) return examples;

  const std::vector<std::size_t> asked = asked_in(round);
  std::vector<TokenizedConversation> prompts;
  std::vector<TokenRequest> requests;
  const std::uint64_t seed = derive_seed(options_.sampling.seed, "rollouts", static_cast<std::uint64_t>(round.number));
  for (std::size_t i = 0; i < asked.size(); ++i) {
    prompts.push_back(prompt_of(exchanges_[asked[i]]));
    TokenRequest request;
    request.prompt_ids = prompts.back().ids;
    request.sampling = options_.sampling;
    request.sampling.seed = derive_seed(seed, "rollout", i);
    request.end_ids = format_->end_ids();
    requests.push_back(std::move(request));
  }
  RETORT_ASSIGN(const std::vector<TokenCompletion> answers, generate_all(student, requests, std::move(stop)));

  std::vector<store::NewExchange> made;
  for (std::size_t i = 0; i < asked.size(); ++i) {
    RETORT_ASSIGN(TokenizedConversation tokens, format_->with_sampled_answer(std::move(prompts[i]), answers[i].ids));
    made.push_back(
        {exchange(exchanges_[asked[i]], std::move(tokens), answers[i].finish_reason, round, requests[i].sampling),
         store::Slot{job_of(round), static_cast<std::int64_t>(i)}});
  }
  RETORT_ASSIGN(const std::vector<Digest> ids, store_.add(made));
  for (std::size_t i = 0; i < made.size(); ++i) examples.push_back(example_of(ids[i], made[i].exchange.tokens));
  return examples;
}

}  // namespace retort::pipeline
