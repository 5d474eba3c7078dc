// What tokens cost by a model's price: of an answer that was counted, and at most of one that is still to come.
//
// Pure; any thread. Counts are at most api::kMostTokens times api::kMostAnswers, so that products fit.
#pragma once

#include <cstdint>
#include <optional>

#include "api/answer.h"
#include "api/request_facts.h"
#include "policy/decide.h"
#include "policy/money.h"
#include "policy/options.h"

namespace retort::policy {

NanoUsd cost_of(const Price& price, const api::Usage& usage);

// What one token costs, of each kind: a price as it was at some moment, to be kept with what it is for.
struct TokenPrices {
  NanoUsd input = 0, cached = 0, written = 0, output = 0;
  bool operator==(const TokenPrices&) const = default;
};
TokenPrices token_prices(const Price& price);
NanoUsd cost_of(const TokenPrices& prices, const api::Usage& usage);
// Of each kind the dearer one.
TokenPrices dearest(const TokenPrices& a, const TokenPrices& b);

// The price of what comes in batches.
Price batch_price(Price price);

// Whatever of the input comes from the cache or goes into it: each token at the dearest of its prices.
NanoUsd most_for(const Price& price, std::int64_t input_tokens, std::int64_t output_tokens);

// What a request of these facts may cost, as far as `decision` lets it: every token is at least a byte, so its bytes
// bound the prompt's tokens. Nothing: the length of its answer has no bound.
std::optional<NanoUsd> worst_case(const Price& price, api::Operation operation, const api::RequestFacts& facts,
                                  const Decision& decision);

}  // namespace retort::policy
