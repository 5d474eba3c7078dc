// What to ask a teacher for: the recipe's keys under `collect` and `terms`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "collect/prompt_source.h"
#include "exchange/exchange.h"
#include "recipe/map_shape.h"
#include "recipe/option_set.h"

namespace retort::collect {

// Rates that a served teacher may be asked at, over all endpoints; 0: as fast as it answers.
struct LimitOptions {
  std::int64_t requests_per_minute = 0;
  std::int64_t tokens_per_minute = 0;  // input and output together
  bool operator==(const LimitOptions&) const = default;
};

// A cap that is never passed: what is settled and what is reserved together stay below it. 0: none.
struct BudgetOptions {
  double usd = 0;
  std::int64_t tokens = 0;
  std::int64_t requests = 0;
  bool any() const { return usd > 0 || tokens > 0 || requests > 0; }
  bool operator==(const BudgetOptions&) const = default;
};

// US dollars for a million tokens. Absent: not known, which a cap in money refuses.
struct PriceOptions {
  std::optional<double> input_per_mtok;
  std::optional<double> output_per_mtok;
  std::optional<double> batch_discount = {};  // share that batches cost less, from 0 to 1
  bool operator==(const PriceOptions&) const = default;
};

struct CollectOptions {
  // Where prompts come from: the word `self_generated` (the teacher writes the user's turn too), or a file.
  PromptSource prompts;
  // Personal data and secrets in the prompts of a file: "mask", "drop" (the row), "keep".
  std::string personal_data = "mask";
  // Exchanges to collect. 0: every row of the file; self-generated prompts need a number.
  std::int64_t count = 280;
  // An answer is cut here.
  std::int64_t max_tokens = 160;
  // A self-generated user's turn that doesn't end within so many tokens is thrown away and drawn again.
  std::int64_t max_user_tokens = 160;
  double temperature = 0.8;
  double top_p = 0.95;
  std::int64_t top_k = 0;
  double min_p = 0;
  std::uint64_t seed = 1;
  // System message for self-generated prompts and for rows that have none; empty: what the template itself adds.
  std::string system;
  // Answers to each prompt, each from a seed of its own.
  std::int64_t samples_per_prompt = 1;
  // Of a served teacher: "direct", one request for each answer, or "batch", through the provider's batch API.
  std::string mode = "direct";
  std::int64_t batch_requests = 10'000;  // of one batch, at most
  double batch_poll_s = 60;              // between two looks at a batch, at most
  // Of a served teacher. Requests in flight at most; how many there are is found by trying.
  std::int64_t concurrency = 64;
  LimitOptions limits;
  BudgetOptions budget;
  PriceOptions prices;
  // Prices of many models, as JSON: {"MODEL": {"input_per_mtok": 1.0, "output_per_mtok": 4.0}, …}. Empty: none.
  std::string price_file;
  // Of a served teacher: an answer that takes longer is given up and asked again.
  double timeout_s = 600;
  // Of a served teacher of one's own: how long one that is still loading its model is waited for. 0: not at all.
  double ready_s = 900;
  // No answer at all for so long, with failures: the collection stops, and goes on at the next call.
  double patience_s = 300;
  bool stream = false;
  // Keep the log-probabilities of the sampled tokens, and of so many most likely ones at each place. Absent: none.
  std::optional<std::int64_t> logprobs;
  // What an answer survives once it counts: "process" (a kill), or "full" (power loss too: an fsync for each
  // transaction).
  std::string durability = "process";
  // Draws of a self-generated user's turn before its slot is given up.
  std::int64_t attempts = 4;

  bool batched() const { return mode == "batch"; }
  bool self_generated() const { return !prompts.is_file(); }
  const std::string& prompts_file() const { return prompts.file; }
};

// Who says under which licence a teacher is that doesn't say so itself.
struct TermsOptions {
  std::string accepted_by;
  std::string accepted_licence;
};

// How an answer is drawn and cut; the seed is the caller's.
SamplingOptions answer_sampling(const CollectOptions& options);

const recipe::MapShape<LimitOptions>& limit_shape();
const recipe::MapShape<BudgetOptions>& budget_shape();
const recipe::MapShape<PriceOptions>& price_shape();
const recipe::OptionSet<CollectOptions>& collect_option_set();
const recipe::OptionSet<TermsOptions>& terms_option_set();

}  // namespace retort::collect

namespace retort::recipe {
template <>
struct Codec<collect::LimitOptions> : MapCodec<collect::LimitOptions, &collect::limit_shape> {};
template <>
struct Codec<collect::BudgetOptions> : MapCodec<collect::BudgetOptions, &collect::budget_shape> {};
template <>
struct Codec<collect::PriceOptions> : MapCodec<collect::PriceOptions, &collect::price_shape> {};
}  // namespace retort::recipe
