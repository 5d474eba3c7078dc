// Bootstrap intervals over exchanges (Efron 1979; percentile interval).
//
// Tokens of one answer depend on one another, so exchanges are what is drawn again, whole, with replacement: n of n,
// `resamples` times. The statistic is computed on each draw and its 2.5 and 97.5 % quantiles are the interval. The same
// seed and n give the same draws, so statistics of two models on the same exchanges are compared pairwise by computing
// both inside one statistic. Pure; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "exchange/scorecard.h"

namespace retort::evaluate {

struct BootstrapOptions {
  std::int64_t resamples = 2000;
  double confidence = 0.95;
  std::uint64_t seed = 1;
};

// `statistic(indices)` gets indices into the exchanges, with repetition, in no particular order. The value is that of
// each exchange taken once. With fewer than two exchanges there is no interval: low == high == value.
Estimate bootstrap(std::size_t exchanges, const std::function<double(std::span<const std::uint32_t>)>& statistic,
                   const BootstrapOptions& options);

// sum(numerators) / sum(denominators): token-weighted means. Both have one entry an exchange. A draw whose
// denominators sum to 0 counts as 0.
Estimate bootstrap_ratio(std::span<const double> numerators, std::span<const double> denominators,
                         const BootstrapOptions& options);

}  // namespace retort::evaluate
