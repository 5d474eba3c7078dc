#include "train/estimate.h"

#include <gtest/gtest.h>

#include "train/tiny_model_for_test.h"

namespace retort::train {
namespace {

// A set of 10 tokens; the student has two of the teacher's three layers.
TrainCost cost_of(const TrainOptions& options) {
  return estimate(tiny_config(true, 2), tiny_config(true, 3), model::ComputeType::kBFloat16, 10, options, 1000);
}

TEST(Estimate, CountsWhatIsComputed) {
  const auto student = static_cast<double>(model::matmul_parameter_count(tiny_config(true, 2)));
  const auto teacher = static_cast<double>(model::matmul_parameter_count(tiny_config(true, 3)));
  const double head = 61 * 32;
  TrainOptions options;
  options.epochs = 2;
  options.teacher_states_mb = 0;
  EXPECT_EQ(cost_of(options).tokens, 20);
  EXPECT_DOUBLE_EQ(cost_of(options).flops_per_token, 6 * student + 2 * teacher);
  EXPECT_DOUBLE_EQ(cost_of(options).seconds, 20 * cost_of(options).flops_per_token / 1000.0);
  // The teacher's layers are read in one of two passes.
  options.teacher_states_mb = 100;
  EXPECT_DOUBLE_EQ(cost_of(options).flops_per_token, 6 * student + 2 * (0.5 * (teacher - head) + head));
  EXPECT_EQ(cost_of(options).memory.teacher_states, 10 * 32 * 2);
  options.hidden_state_weight = 1;
  EXPECT_DOUBLE_EQ(cost_of(options).flops_per_token, 6 * student + 2 * teacher);
  const std::int64_t trained_bytes = cost_of(options).memory.student;
  options.embedding_rate = 0;
  EXPECT_DOUBLE_EQ(cost_of(options).flops_per_token, 6 * student - 2 * head + 2 * teacher);
  EXPECT_EQ(cost_of(options).memory.student, trained_bytes - 12 * 61 * 32);
  options.recompute = "blocks";
  EXPECT_DOUBLE_EQ(cost_of(options).flops_per_token, 6 * student - 2 * head + 2 * teacher + 2 * (student - head));
  options.tokens = 5;
  EXPECT_EQ(cost_of(options).tokens, 5);
}

TEST(Estimate, AdaptersSaveTheGradientsOfTheWeights) {
  const model::DecoderConfig config = tiny_config(true, 2);
  const auto student = static_cast<double>(model::matmul_parameter_count(config));
  const auto teacher = static_cast<double>(model::matmul_parameter_count(tiny_config(true, 3)));
  TrainOptions options;
  options.teacher_states_mb = 0;
  const TrainMemory whole = cost_of(options).memory;
  const std::int64_t whole_disk = cost_of(options).disk_bytes;
  options.lora_rank = 2;
  // Of each layer: (32 + 32) + 2 (32 + 16) + (32 + 32) for attention, 3 (32 + 48) for the rest.
  const std::int64_t adapters = 2 * 2 * (64 + 96 + 64 + 240);
  const TrainCost cost = cost_of(options);
  EXPECT_DOUBLE_EQ(cost.flops_per_token, 4 * student + 6 * static_cast<double>(adapters) + 2 * teacher);
  const std::int64_t all = model::parameter_count(config);
  EXPECT_EQ(cost.memory.student, 2 * all + (2 + 4 + 4 + 8) * adapters);
  EXPECT_GE(cost.memory.total(), cost.memory.teacher + 6 * all);  // as the student arrives
  EXPECT_LT(cost.memory.total(), whole.total());
  EXPECT_LT(cost.disk_bytes, whole_disk);
}

TEST(Estimate, AKeptSignalAsksTheTeacherOnce) {
  const auto student = static_cast<double>(model::matmul_parameter_count(tiny_config(true, 2)));
  const auto teacher = static_cast<double>(model::matmul_parameter_count(tiny_config(true, 3)));
  TrainOptions options;
  options.epochs = 2;
  options.signal = "sampled";
  EXPECT_DOUBLE_EQ(cost_of(options).flops_per_token, 6 * student + 0.5 * 2 * teacher);
  EXPECT_EQ(cost_of(options).memory.teacher_states, 0);
  options.signal = "text";
  EXPECT_DOUBLE_EQ(cost_of(options).flops_per_token, 6 * student);
}

}  // namespace
}  // namespace retort::train
