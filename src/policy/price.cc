#include "policy/price.h"

#include <algorithm>

namespace retort::policy {
namespace {

struct InputPrices {
  NanoUsd plain = 0, cached = 0, written = 0;
};

InputPrices input_prices(const Price& price) {
  return {token_price(price.input_per_mtok), token_price(price.cached_input_per_mtok.value_or(price.input_per_mtok)),
          token_price(price.cache_write_per_mtok.value_or(price.input_per_mtok))};
}

}  // namespace

NanoUsd cost_of(const Price& price, const api::Usage& usage) {
  const InputPrices input = input_prices(price);
  const std::int64_t plain = std::max<std::int64_t>(0, usage.input - usage.cached - usage.cache_written);
  return plain * input.plain + usage.cached * input.cached + usage.cache_written * input.written +
         usage.output * token_price(price.output_per_mtok);
}

NanoUsd most_for(const Price& price, std::int64_t input_tokens, std::int64_t output_tokens) {
  const InputPrices input = input_prices(price);
  return input_tokens * std::max({input.plain, input.cached, input.written}) +
         output_tokens * token_price(price.output_per_mtok);
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
