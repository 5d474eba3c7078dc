#include "collect/remote_estimate.h"

#include <cstdio>

#include "base/text.h"
#include "collect/slot_plan.h"
#include "collect/spending.h"
#include "provider/forecast.h"

namespace retort::collect {
namespace {

constexpr double kMostBytesPerToken = 6;
constexpr double kFewestBytesPerToken = 2.5;
constexpr std::int64_t kTemplateTokens = 30;
constexpr double kShortAnswers = 0.1;  // of max_tokens

std::string range(const AmountRange& amount) { return human_count(amount.low) + " to " + human_count(amount.high); }

}  // namespace

std::string dollars(store::NanoUsd nano_usd) {
  char text[40];
  std::snprintf(text, sizeof(text), "$%.4f", static_cast<double>(nano_usd) / 1e9);
  return text;
}

std::string RemoteEstimate::sentence() const {
  std::string text =
      human_count(requests) + " requests, " + range(input_tokens) + " tokens in, " + range(output_tokens) + " out";
  if (nano_usd) text += ", " + dollars(nano_usd->low) + " to " + dollars(nano_usd->high);
  return text;
}

RemoteEstimate estimate_remote(std::span<const PromptRow> rows, const CollectOptions& options) {
  RemoteEstimate estimate;
  const SlotPlan plan(options, static_cast<std::int64_t>(rows.size()));
  for (std::int64_t row = 0; row < plan.rows(); ++row) {
    const PromptRow& asked = rows[static_cast<std::size_t>(row)];
    if (asked.answer) continue;
    const auto times = static_cast<std::int64_t>(plan.slots_of(row).size());
    const auto bytes = static_cast<double>(provider::prompt_bytes(asked.prompt));
    estimate.requests += times;
    estimate.input_tokens.low += times * static_cast<std::int64_t>(bytes / kMostBytesPerToken);
    estimate.input_tokens.high += times * (static_cast<std::int64_t>(bytes / kFewestBytesPerToken) + kTemplateTokens);
  }
  estimate.output_tokens.high = estimate.requests * options.max_tokens;
  estimate.output_tokens.low =
      static_cast<std::int64_t>(kShortAnswers * static_cast<double>(estimate.output_tokens.high));
  if (options.prices.input_per_mtok && options.prices.output_per_mtok) {
    estimate.nano_usd = AmountRange{price_of(options.prices, estimate.input_tokens.low, estimate.output_tokens.low),
                                    price_of(options.prices, estimate.input_tokens.high, estimate.output_tokens.high)};
  }
  return estimate;
}

}  // namespace retort::collect
