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

void RemoteEstimator::see(const PromptRow& row) { see(provider::prompt_bytes(row.prompt), row.answer.has_value()); }

void RemoteEstimator::see(std::int64_t prompt_bytes, bool answered) {
  const SlotPlan plan(options_, rows_ + 1);  // as far as this row
  const auto times = answered ? 0 : static_cast<std::int64_t>(plan.slots_of(rows_).size());
  ++rows_;
  const auto bytes = static_cast<double>(prompt_bytes);
  sum_.requests += times;
  sum_.input_tokens.low += times * static_cast<std::int64_t>(bytes / kMostBytesPerToken);
  sum_.input_tokens.high += times * (static_cast<std::int64_t>(bytes / kFewestBytesPerToken) + kTemplateTokens);
}

RemoteEstimate RemoteEstimator::estimate() const {
  RemoteEstimate estimate = sum_;
  estimate.output_tokens.high = estimate.requests * options_.max_tokens;
  estimate.output_tokens.low =
      static_cast<std::int64_t>(kShortAnswers * static_cast<double>(estimate.output_tokens.high));
  if (const PriceOptions prices = prices_in_mode(options_); prices.input_per_mtok && prices.output_per_mtok) {
    estimate.nano_usd = AmountRange{price_of(prices, estimate.input_tokens.low, estimate.output_tokens.low),
                                    price_of(prices, estimate.input_tokens.high, estimate.output_tokens.high)};
  }
  return estimate;
}

RemoteEstimate estimate_remote(const PromptRows& rows, const CollectOptions& options) {
  RemoteEstimator estimator(options);
  for (std::int64_t row = 0; row < rows.size(); ++row) estimator.see(rows.prompt_bytes(row), rows.answered(row));
  return estimator.estimate();
}

}  // namespace retort::collect
