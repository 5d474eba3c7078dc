#include "train/estimate.h"

#include <gtest/gtest.h>

namespace retort::train {
namespace {

// Student and teacher of 100 and 150 parameters, of which the head is 40; a set of 10 tokens.
TrainCost cost_of(const TrainOptions& options) { return estimate(100, 150, 40, 8, 10, options, 1000); }

TEST(Estimate, CountsWhatIsComputed) {
  TrainOptions options;
  options.epochs = 2;
  options.teacher_states_mb = 0;
  EXPECT_EQ(cost_of(options).tokens, 20);
  EXPECT_DOUBLE_EQ(cost_of(options).flops_per_token, 6 * 100 + 2 * 150);
  EXPECT_DOUBLE_EQ(cost_of(options).seconds, 20 * 900 / 1000.0);
  // The teacher's layers are read in one of two passes.
  options.teacher_states_mb = 100;
  EXPECT_DOUBLE_EQ(cost_of(options).flops_per_token, 6 * 100 + 2 * (0.5 * 110 + 40));
  options.hidden_state_weight = 1;
  EXPECT_DOUBLE_EQ(cost_of(options).flops_per_token, 6 * 100 + 2 * 150);
  const std::int64_t trained_bytes = cost_of(options).memory_bytes;
  options.embedding_rate = 0;
  EXPECT_DOUBLE_EQ(cost_of(options).flops_per_token, 6 * 100 - 2 * 40 + 2 * 150);
  EXPECT_EQ(cost_of(options).memory_bytes, trained_bytes - 12 * 40);
  options.tokens = 5;
  EXPECT_EQ(cost_of(options).tokens, 5);
}

}  // namespace
}  // namespace retort::train
