// The learning rate over the steps: linear warm-up, then half a cosine.
//
// A pure function of the step; any thread.
#pragma once

#include <cstdint>

namespace retort::train {

struct Schedule {
  double peak = 0;
  double final_fraction = 0;
  std::int64_t warmup_steps = 0;
  std::int64_t steps = 0;

  // `step` counts from 0. The first warm-up step already learns (peak / warmup_steps); the last step of all stands at
  // peak * final_fraction or one cosine step before it.
  double learning_rate(std::int64_t step) const;
};

}  // namespace retort::train
