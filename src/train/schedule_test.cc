#include "train/schedule.h"

#include <gtest/gtest.h>

namespace retort::train {
namespace {

TEST(Schedule, WarmsUpThenFallsAlongACosine) {
  const Schedule schedule{.peak = 1.0, .final_fraction = 0.1, .warmup_steps = 4, .steps = 104};
  EXPECT_DOUBLE_EQ(schedule.learning_rate(0), 0.25);
  EXPECT_DOUBLE_EQ(schedule.learning_rate(3), 1.0);
  EXPECT_DOUBLE_EQ(schedule.learning_rate(4), 1.0);
  EXPECT_NEAR(schedule.learning_rate(54), 0.55, 1e-12);
  EXPECT_NEAR(schedule.learning_rate(104), 0.1, 1e-12);
  for (int step = 5; step < 104; ++step) {
    EXPECT_LT(schedule.learning_rate(step), schedule.learning_rate(step - 1));
  }
}

TEST(Schedule, NeedsNoWarmUp) {
  const Schedule schedule{.peak = 2.0, .final_fraction = 0, .warmup_steps = 0, .steps = 1};
  EXPECT_DOUBLE_EQ(schedule.learning_rate(0), 2.0);
}

}  // namespace
}  // namespace retort::train
