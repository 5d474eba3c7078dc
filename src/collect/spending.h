// A cap that is never passed: what is settled, what is reserved, and whether one more fits. Pure; one thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "collect/collect_options.h"
#include "provider/forecast.h"
#include "store/batches.h"
#include "store/ledger.h"

namespace retort::collect {

// What so many tokens cost, rounded up to a billionth of a dollar. Without prices: 0.
store::NanoUsd price_of(const PriceOptions& prices, std::int64_t input_tokens, std::int64_t output_tokens);

// The prices of a model, from the recipe or else from its price file. Error (kCaller): the
// file can't be read, or doesn't know the model (with the nearest it knows).
Result<PriceOptions> prices_of(const CollectOptions& options, const std::string& model);

// What requests cost in the recipe's mode: batches less by prices.batch_discount.
PriceOptions prices_in_mode(const CollectOptions& options);

class Spending {
 public:
  // `before`: what the ledger says of earlier calls; their open reservations count at their worst case.
  Spending(const CollectOptions& options, const store::Totals& before);

  // Whether a request of this worst case stays within every cap.
  bool fits(const provider::WorstCase& worst) const;
  void reserve(const provider::WorstCase& worst);
  // A line that an earlier call reserved ends likewise.
  void settle(const store::OpenLine& line, std::int64_t input_tokens, std::int64_t output_tokens);
  // A reservation ends with what it did cost.
  void settle(const provider::WorstCase& worst, std::int64_t input_tokens, std::int64_t output_tokens);

  store::NanoUsd cost(std::int64_t input_tokens, std::int64_t output_tokens) const {
    return price_of(prices_, input_tokens, output_tokens);
  }
  store::NanoUsd spent_nano_usd() const { return settled_nano_usd_; }
  bool capped() const { return budget_.any(); }

 private:
  BudgetOptions budget_;
  PriceOptions prices_;
  std::int64_t requests_ = 0;
  std::int64_t settled_tokens_ = 0;
  std::int64_t reserved_tokens_ = 0;
  store::NanoUsd settled_nano_usd_ = 0;
  store::NanoUsd reserved_nano_usd_ = 0;
};

}  // namespace retort::collect
