// What asking a service will use, said before the first request: a range, because nobody knows another's tokenizer nor
// how long its answers will be. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "collect/collect_options.h"
#include "collect/prompt_rows.h"
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

// Of every slot that must be asked, from what is seen of the rows, in their order.
class RemoteEstimator {
 public:
  explicit RemoteEstimator(const CollectOptions& options) : options_(options) {}
  void see(const PromptRow& row);
  void see(std::int64_t prompt_bytes, bool answered);
  RemoteEstimate estimate() const;

 private:
  const CollectOptions& options_;
  std::int64_t rows_ = 0;
  RemoteEstimate sum_;
};
RemoteEstimate estimate_remote(const PromptRows& rows, const CollectOptions& options);

// "$0.0123"
std::string dollars(store::NanoUsd nano_usd);

}  // namespace retort::collect
