#include "train/step_costs.h"

#include <gtest/gtest.h>

#include "base/clock.h"
#include "train/tiny_model_for_test.h"

namespace retort::train {
namespace {

TEST(StepCosts, EveryPartTakesTime) {
  TrainOptions options;
  options.tokens_per_step = 64;
  options.max_length = 32;
  options.embedding_rate = 0;
  options.hidden_state_weight = 1;
  options.signal = "auto";
  for (const std::int64_t rank : {0, 2}) {
    options.lora_rank = rank;
    if (rank > 0) options.hidden_state_weight = 0;
    const SystemClock clock;
    const auto costs = measure_step_costs(tiny_config(true, 2), tiny_config(true, 6), options, {}, clock);
    ASSERT_TRUE(costs.has_value()) << costs.error().message;
    ASSERT_TRUE(costs->has_value());
    EXPECT_GT((*costs)->teacher_layer_s, 0);
    EXPECT_GT((*costs)->student_layer_s, 0);
    EXPECT_GT((*costs)->backward_layer_s, 0);
    EXPECT_GT((*costs)->heads_s, 0);
    EXPECT_GT((*costs)->parameter_s, 0);
  }
}

TEST(StepCosts, ALayerTooLargeForAPlanIsNotMeasured) {
  model::DecoderConfig large = tiny_config(true, 2);
  large.hidden = 16384;
  large.intermediate = 65536;
  const SystemClock clock;
  const auto costs = measure_step_costs(large, large, {}, {}, clock);
  ASSERT_TRUE(costs.has_value());
  EXPECT_FALSE(costs->has_value());
}

}  // namespace
}  // namespace retort::train
