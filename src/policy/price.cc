#include "policy/price.h"

#include <algorithm>

namespace retort::policy {
TokenPrices token_prices(const Price& price) {
  return {token_price(price.input_per_mtok), token_price(price.cached_input_per_mtok.value_or(price.input_per_mtok)),
          token_price(price.cache_write_per_mtok.value_or(price.input_per_mtok)), token_price(price.output_per_mtok)};
}

NanoUsd cost_of(const TokenPrices& prices, const api::Usage& usage) {
  const std::int64_t plain = std::max<std::int64_t>(0, usage.input - usage.cached - usage.cache_written);
  return plain * prices.input + usage.cached * prices.cached + usage.cache_written * prices.written +
         usage.output * prices.output;
}

NanoUsd cost_of(const Price& price, const api::Usage& usage) { return cost_of(token_prices(price), usage); }

TokenPrices dearest(const TokenPrices& a, const TokenPrices& b) {
  return {std::max(a.input, b.input), std::max(a.cached, b.cached), std::max(a.written, b.written),
          std::max(a.output, b.output)};
}

Price batch_price(Price price) {
  price.input_per_mtok *= price.batch_factor;
  price.output_per_mtok *= price.batch_factor;
  if (price.cached_input_per_mtok) *price.cached_input_per_mtok *= price.batch_factor;
  if (price.cache_write_per_mtok) *price.cache_write_per_mtok *= price.batch_factor;
  return price;
}

NanoUsd most_for(const Price& price, std::int64_t input_tokens, std::int64_t output_tokens) {
  const TokenPrices prices = token_prices(price);
  return input_tokens * std::max({prices.input, prices.cached, prices.written}) + output_tokens * prices.output;
}

std::optional<NanoUsd> worst_case(const Price& price, api::Operation operation, const api::RequestFacts& facts,
                                  const Decision& decision) {
  const std::int64_t input = facts.prompt_bytes + facts.other_bytes;
  if (!api::generates(operation)) return most_for(price, input, 0);
  std::optional<std::int64_t> output = decision.max_tokens > 0 ? decision.max_tokens : facts.max_tokens;
  if (!output) output = price.max_output_tokens;
  if (!output) return std::nullopt;
  return most_for(price, input, *output * (decision.n > 0 ? decision.n : facts.n));
}

}  // namespace retort::policy
