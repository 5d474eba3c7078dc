#include "evaluate/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/random.h"

namespace retort::evaluate {

namespace {

// Linear interpolation between order statistics (Hyndman and Fan 1996, type 7).
double quantile(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(std::floor(place));
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  const double weight = place - static_cast<double>(below);
  return sorted[below] * (1 - weight) + sorted[above] * weight;
}

}  // namespace

Estimate bootstrap(std::size_t exchanges, const std::function<double(std::span<const std::uint32_t>)>& statistic,
                   const BootstrapOptions& options) {
  std::vector<std::uint32_t> indices(exchanges);
  for (std::size_t i = 0; i < exchanges; ++i) indices[i] = static_cast<std::uint32_t>(i);
  Estimate estimate;
  estimate.value = exchanges == 0 ? 0.0 : statistic(indices);
  estimate.low = estimate.high = estimate.value;
  if (exchanges < 2 || options.resamples < 1) return estimate;

  Random random(derive_seed(options.seed, "bootstrap"));
  std::vector<double> draws;
  draws.reserve(static_cast<std::size_t>(options.resamples));
  for (std::int64_t draw = 0; draw < options.resamples; ++draw) {
    for (std::uint32_t& index : indices) index = static_cast<std::uint32_t>(random.below(exchanges));
    draws.push_back(statistic(indices));
  }
  std::sort(draws.begin(), draws.end());
  const double tail = (1 - options.confidence) / 2;
  estimate.low = quantile(draws, tail);
  estimate.high = quantile(draws, 1 - tail);
  return estimate;
}

Estimate bootstrap_ratio(std::span<const double> numerators, std::span<const double> denominators,
                         const BootstrapOptions& options) {
  RETORT_CHECK(numerators.size() == denominators.size());
  return bootstrap(
      numerators.size(),
      [&](std::span<const std::uint32_t> indices) {
        double numerator = 0;
        double denominator = 0;
        for (const std::uint32_t index : indices) {
          numerator += numerators[index];
          denominator += denominators[index];
        }
        return denominator == 0 ? 0.0 : numerator / denominator;
      },
      options);
}

}  // namespace retort::evaluate
