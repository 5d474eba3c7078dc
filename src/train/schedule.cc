#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace retort::train {

double Schedule::learning_rate(std::int64_t step) const {
  if (step < warmup_steps) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  const std::int64_t span = std::max<std::int64_t>(1, steps - warmup_steps);
  const double done = std::clamp(static_cast<double>(step - warmup_steps) / static_cast<double>(span), 0.0, 1.0);
  const double cosine = 0.5 * (1.0 + std::cos(std::numbers::pi * done));
  return peak * (final_fraction + (1.0 - final_fraction) * cosine);
}

}  // namespace retort::train
