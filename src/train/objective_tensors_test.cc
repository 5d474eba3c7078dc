// What a GPU runs for the loss, run here, and on a GPU where there is one: against FP64, and against the kernels.
#include "train/objective_tensors.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "base/clock.h"
#include "model/cuda_for_test.h"
#include "train/objective_cases_for_test.h"
#include "train/objective_reference.h"
#include "train/step.h"
#include "train/step_plan.h"
#include "train/tiny_model_for_test.h"

namespace retort::train {
namespace {

constexpr std::int64_t kVocabulary = 67;

std::vector<model::Backend> tensor_backends() {
  std::vector<model::Backend> all = {model::Backend::kTensors};
  if (model::kCudaIsThere) all.push_back(model::Backend::kCuda);
  return all;
}

at::Tensor on(model::Backend backend, const at::Tensor& tensor) {
  return tensor.to(backend == model::Backend::kCuda ? at::kCUDA : at::kCPU, tensor.scalar_type(), false, true);
}

TEST(ObjectiveTensors, LossAndGradientAreThoseOfTheFormula) {
  torch::manual_seed(3);
  const at::Tensor student = 3 * torch::randn({5, kVocabulary}), teacher = 3 * torch::randn({5, kVocabulary});
  const std::vector<TokenId> targets = labels(5, kVocabulary);
  for (const ObjectiveMix& mix : objectives()) {
    const ReferenceLoss exact = reference_loss(mix, doubles(student), doubles(teacher), targets, kVocabulary, -100);
    for (const model::Backend backend : tensor_backends()) {
      const std::string what = describe(mix) + ", " + std::string(name_of(backend));
      at::Tensor gradient = on(backend, student);
      const LossSums sums = rows_by_tensors(mix, gradient, on(backend, teacher), targets, 5);
      EXPECT_NEAR(sums.loss / 5, exact.loss, 2e-6 * std::max(1.0, exact.loss)) << what;
      EXPECT_EQ(sums.tokens, 5);
      const at::Tensor expected = torch::tensor(exact.gradient, at::kDouble).view({5, kVocabulary});
      EXPECT_LT((gradient.to(at::kCPU, at::kDouble) - expected).norm().item<double>(),
                2e-6 * expected.norm().item<double>() + 1e-9)
          << what;
      at::Tensor left = on(backend, student);
      rows_by_tensors(mix, left, on(backend, teacher), targets, 0);
      EXPECT_TRUE(left.cpu().equal(student));
    }
  }
}

TEST(ObjectiveTensors, CountsRowsThatAreNotFinite) {
  ObjectiveMix mix;
  mix.weight(Term::kForwardKl) = 1;
  at::Tensor student = torch::zeros({3, kVocabulary}), teacher = torch::zeros({3, kVocabulary});
  student[1][4] = std::numeric_limits<float>::quiet_NaN();
  teacher[0][1] = std::numeric_limits<float>::infinity();
  teacher[2].fill_(-std::numeric_limits<float>::infinity());
  for (const model::Backend backend : tensor_backends()) {
    at::Tensor own = on(backend, student);
    const LossSums sums = rows_by_tensors(mix, own, on(backend, teacher), labels(3, kVocabulary), 0);
    EXPECT_EQ(sums.bad_student_rows, 1) << name_of(backend);
    EXPECT_EQ(sums.bad_teacher_rows, 2) << name_of(backend);
  }
}

// Slots as a file keeps them: an empty one names the id 0, which may be listed too.
TEST(ObjectiveTensors, KeptTokensGiveWhatTheKernelsGive) {
  torch::manual_seed(4);
  const at::Tensor student = 2 * torch::randn({3, kVocabulary});
  for (const bool bucket : {false, true}) {
    SparseSignal signal;
    signal.slots = 3;
    signal.bucket = bucket;
    signal.ids = {0, 7, 0, 12, 0, 0, 66, 5, 1};
    signal.weights = {0.5F, 0.25F, 0, 0.75F, 0, 0, 0.25F, 0.25F, 0.375F};
    signal.entropies = {0.5F, 0.25F, 1};
    ObjectiveMix mix;
    mix.weight(Term::kForwardKl) = 0.75;
    mix.weight(Term::kCe) = 0.25;
    mix.temperature = 1.5;
    // Rows 1 and on: the place in the signal counts.
    const std::vector<TokenId> targets = {12, 3};
    at::Tensor by_kernels = student.narrow(0, 1, 2).contiguous().clone();
    const at::Tensor logits = by_kernels.clone();
    ObjectiveRows kernels(mix, kVocabulary);
    const LossSums expected = kernels.run_sparse(by_kernels.data_ptr<float>(), signal, 1, targets, 4);
    for (const model::Backend backend : tensor_backends()) {
      at::Tensor by_tensors = on(backend, logits);
      const LossSums sums = sparse_rows_by_tensors(mix, by_tensors, signal, 1, targets, 4);
      EXPECT_NEAR(sums.loss, expected.loss, 1e-5) << bucket;
      EXPECT_NEAR(sums.kl, expected.kl, 1e-5) << bucket;
      EXPECT_NEAR(sums.cross_entropy, expected.cross_entropy, 1e-5) << bucket;
      EXPECT_LT((by_tensors.cpu() - by_kernels).abs().max().item<double>(), 1e-6) << bucket << name_of(backend);
    }
  }
}

// A whole training step after the other, by the operations that a GPU runs.
void expect_the_steps_of_the_kernels(model::Backend backend) {
  const model::Decoder teacher = tiny_decoder(tiny_config(true, 3), 1, model::ComputeType::kFloat32);
  const std::vector<std::int64_t> layers = {0, 2};
  const model::Decoder student = teacher.keep_layers(layers).value();
  const std::vector<dataset::Example> examples = tiny_examples(24);
  TrainOptions options;
  options.hidden_state_weight = 0.5;
  options.tokens_per_step = 64;
  options.micro_batch_tokens = 32;
  options.max_length = 32;
  options.learning_rate = 3e-3;
  StepPlan plan(examples, options);
  const model::Decoder elsewhere = teacher.clone(model::ComputeType::kFloat32, backend);
  const SystemClock clock;
  StepRunner kernels(teacher, student.clone(model::ComputeType::kFloat32), options, clock);
  StepRunner tensors(elsewhere, student.clone(model::ComputeType::kFloat32), options, clock);
  ASSERT_GE(plan.steps().size(), 4U);
  double first = 0, last = 0;
  for (std::size_t i = 0; i < plan.steps().size(); ++i) {
    const StepResult expected = kernels.step({plan.rows(i), {}}, 3e-3).value();
    const StepResult step = tensors.step({plan.rows(i), {}}, 3e-3).value();
    EXPECT_NEAR(step.loss, expected.loss, 1e-4 * expected.loss) << i;
    EXPECT_NEAR(step.gradient_norm, expected.gradient_norm, 1e-3 * expected.gradient_norm) << i;
    if (i == 0) first = step.loss;
    last = step.loss;
  }
  EXPECT_LT(last, first);
  EXPECT_EQ(tensors.student().backend(), backend);
}

TEST(ObjectiveTensors, TrainingTakesTheSameStepsWithoutKernels) {
  for (const model::Backend backend : tensor_backends()) expect_the_steps_of_the_kernels(backend);
}

}  // namespace
}  // namespace retort::train
