#include "train/estimate.h"

#include <gtest/gtest.h>

#include "train/tiny_model_for_test.h"

namespace retort::train {
namespace {

// A set of 10 tokens; the student has two of the teacher's three layers.
TrainCost cost_of(const TrainOptions& options) {
  return estimate(tiny_config(true, 2), tiny_config(true, 3), {model::ComputeType::kBFloat16}, 10, options, {1000, {}});
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

TEST(Estimate, MultipliesUpWhatWasMeasured) {
  TrainOptions options;
  options.tokens = 100;
  options.tokens_per_step = 50;
  options.held_out_tokens = 0;
  options.teacher_states_mb = 0;
  const model::DecoderConfig student = tiny_config(true, 2), teacher = tiny_config(true, 3);
  const StepCosts costs{
      .teacher_layer_s = 1, .student_layer_s = 2, .backward_layer_s = 3, .heads_s = 4, .parameter_s = 0.5};
  const auto seconds = [&] {
    return estimate(student, teacher, {model::ComputeType::kBFloat16}, 100, options, {1000, costs}).seconds;
  };
  const auto all = static_cast<double>(model::parameter_count(student));
  EXPECT_DOUBLE_EQ(seconds(), 100 * (3 * 1 + 2 * (2 + 3) + 4) + 2 * all * 0.5);
  options.embedding_rate = 0;
  EXPECT_DOUBLE_EQ(seconds(), 100 * (3 * 1 + 2 * (2 + 3) + 4) + 2 * (all - 61 * 32) * 0.5);
  // Text alone: neither the teacher's layers nor its head, which is a third of what is left of the heads' products.
  options.signal = "text";
  EXPECT_DOUBLE_EQ(seconds(), 100 * (2 * (2 + 3) + 4 * 2 / 3.0) + 2 * (all - 61 * 32) * 0.5);
  // Before the first step, in between and after the last: the student forward, and two heads without gradients; the
  // teacher once.
  const double training_s = seconds();
  options.held_out_tokens = 10;
  options.held_out_every = 1;
  EXPECT_NEAR(seconds() - training_s, 10 * (3 * 1 + 3 * (2 * 2 + 4 * 2 / 3.0)), 1e-9);
  // One round of answers in the second step: the weights read for each of 7 tokens, and 25 tokens passed forward.
  const double without_s = seconds();
  options.on_policy_from = 0.5;
  options.on_policy_share = 0.5;
  options.rollout_tokens = 7;
  const auto weights = static_cast<double>(model::matmul_parameter_count(student));
  EXPECT_NEAR(seconds() - without_s, 7 * weights * 0.5 * 2 / 30 + 25 * 2 * 2, 1e-9);
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
  EXPECT_EQ(cost.memory.student, 2 * all + (4 + 2 + 8) * adapters);
  EXPECT_GE(cost.memory.total(), cost.memory.teacher + 6 * all);  // as the student arrives
  EXPECT_LT(cost.memory.total(), whole.total());
  EXPECT_LT(cost.disk_bytes, whole_disk);
}

// On the processor a BF16 copy is half of its master.
TEST(Estimate, ADeviceKeepsCopiesBesideMasters) {
  const model::DecoderConfig config = tiny_config(true, 2);
  TrainOptions options;
  const auto student_bytes = [&](model::ComputeType type, model::Backend backend) {
    return training_memory(config, config, {type, backend}, options).student;
  };
  const std::int64_t all = model::parameter_count(config), head = config.vocabulary * config.hidden;
  EXPECT_EQ(student_bytes(model::ComputeType::kBFloat16, model::Backend::kKernels), 14 * all + 2 * head);
  options.micro_batch_tokens = options.tokens_per_step / 2;  // gradients are sums
  EXPECT_EQ(student_bytes(model::ComputeType::kBFloat16, model::Backend::kKernels), 16 * all);
  EXPECT_EQ(student_bytes(model::ComputeType::kFloat32, model::Backend::kKernels), 16 * all);
  EXPECT_EQ(student_bytes(model::ComputeType::kBFloat16, model::Backend::kCuda), 18 * all);
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
