#include "train/hidden_states.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "base/clock.h"
#include "train/step.h"
#include "train/tiny_model_for_test.h"

namespace retort::train {
namespace {

TEST(HiddenStates, TheGradientIsTheSlope) {
  torch::manual_seed(3);
  const torch::Tensor target = torch::randn({5, 8}) * 3;
  const torch::Tensor state = target + torch::randn({5, 8});
  const auto loss = [&](const torch::Tensor& at) {
    const auto t = target.to(torch::kDouble);
    const auto d = at.to(torch::kDouble) - t;
    return (0.7 / 20 * (d.square().sum(1) / t.square().sum(1)).sum()).item<double>();
  };
  double error = 1;  // it adds
  const torch::Tensor gradient = hidden_state_gradient(state, target, {}, 0.7, 20, error);
  EXPECT_NEAR((error - 1) * 0.7 / 20, loss(state), 1e-6);
  for (std::int64_t row = 0; row < 5; ++row) {
    auto above = state.to(torch::kDouble);
    auto below = state.to(torch::kDouble);
    above[row][row] += 1e-4;
    below[row][row] -= 1e-4;
    EXPECT_NEAR(gradient[row][row].item<double>(), (loss(above) - loss(below)) / 2e-4, 1e-6);
  }
  // Padding adds nothing.
  const torch::Tensor counted = torch::tensor({{1.0F}, {1.0F}, {0.0F}, {1.0F}, {0.0F}});
  double some = 0;
  const torch::Tensor masked = hidden_state_gradient(state, target, counted, 0.7, 20, some);
  EXPECT_TRUE(masked.equal(gradient * counted));
  double padding = 0;
  hidden_state_gradient(state, target, 1 - counted, 0.7, 20, padding);
  EXPECT_NEAR(some + padding, error - 1, 1e-6);
}

TEST(HiddenStates, TargetsAreWhatWentIntoTheNextKeptLayer) {
  const auto teacher = tiny_decoder(tiny_config(true, 5), 1, model::ComputeType::kFloat32);
  const auto student = teacher.keep_layers(std::vector<std::int64_t>{0, 1, 4});
  ASSERT_TRUE(student);
  const std::vector<std::int32_t> ids = {1, 2, 3, 4, 5, 6};
  const auto batch = model::single_document(ids);
  const HiddenTargets targets = hidden_targets(teacher, student->config(), batch);
  ASSERT_EQ(targets.targets.size(), 2U);
  std::vector<torch::Tensor> outputs;
  const auto final = teacher.forward(batch, [&](std::int64_t, const torch::Tensor&, const torch::Tensor& output) {
    outputs.push_back(output.clone());
  });
  EXPECT_TRUE(torch::equal(targets.targets[0], outputs[0]));
  EXPECT_TRUE(torch::equal(targets.targets[1], outputs[3]));
  EXPECT_TRUE(torch::equal(targets.final, final));
}

TEST(HiddenStates, RefusesStudentsThatAreNoCut) {
  EXPECT_TRUE(check_hidden_states(tiny_config(true, 3), tiny_config(true, 2)));
  EXPECT_FALSE(check_hidden_states(tiny_config(true, 2), tiny_config(true, 3)));
  auto wider = tiny_config(true, 2);
  wider.hidden = 64;
  EXPECT_FALSE(check_hidden_states(tiny_config(true, 3), wider));
}

// The whole step's gradient is the slope of the loss with its second term, for every kind of tensor.
TEST(HiddenStates, TheStepsGradientIsTheSlopeOfBothTerms) {
  constexpr double kWeight = 0.5;
  const auto teacher = tiny_decoder(tiny_config(true, 3), 1, model::ComputeType::kFloat32);
  const auto student = teacher.keep_layers(std::vector<std::int64_t>{0, 2});
  ASSERT_TRUE(student);
  const auto examples = tiny_examples(6);
  dataset::PackOptions pack_options;
  pack_options.max_length = 40;
  const dataset::Packing packing = dataset::pack(examples, pack_options);
  TrainOptions options;
  options.max_length = 40;
  options.head_rows = 16;
  options.hidden_state_weight = kWeight;
  const SystemClock clock;
  StepRunner runner(teacher, *student, options, clock);
  const auto loss = [&] {
    const StepResult result = runner.step({packing.rows, {}}, 0.0).value();  // a learning rate of 0: nothing moves
    return result.sums.kl / static_cast<double>(result.sums.tokens) + kWeight * result.hidden_state_error;
  };
  EXPECT_GT(runner.step({packing.rows, {}}, 0.0)->hidden_state_error, 0.01);
  for (std::size_t i = 0; i < runner.optimiser().parameters().size(); ++i) {
    AdamWParameter& parameter = runner.optimiser().parameters()[i];
    loss();
    const double norm = parameter.gradient.norm().item<double>();
    const torch::Tensor direction = parameter.gradient / norm;
    EXPECT_NEAR(slope_along(parameter, direction, loss), norm, 0.01 * norm + 3e-4) << parameter.name;
  }
}

}  // namespace
}  // namespace retort::train
