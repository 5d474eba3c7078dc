// What asking a service will use, said before the first request: a range, because nobody knows another's tokenizer nor
// how long its answers will be. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "collect/collect_options.h"
#include "collect/prompts.h"
#include "store/ledger.h"

namespace retort::collect {

struct AmountRange {
  std::int64_t low = 0;
  std::int64_t high = 0;
};

struct RemoteEstimate {
  std::int64_t requests = 0;            // without those that must be repeated
  AmountRange input_tokens;             // from six bytes a token to two and a half, with a template's own
  AmountRange output_tokens;            // from a tenth of max_tokens to all of it
  std::optional<AmountRange> nano_usd;  // absent: the recipe has no prices
  // "500 requests, 10,000 to 30,000 tokens in, 3,200 to 32,000 out, $0.02 to $0.35"
  std::string sentence() const;
};

// Of every slot that must be asked.
RemoteEstimate estimate_remote(std::span<const PromptRow> rows, const CollectOptions& options);

// "$0.0123"
std::string dollars(store::NanoUsd nano_usd);

}  // namespace retort::collect
