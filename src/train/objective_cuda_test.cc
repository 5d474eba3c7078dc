// The loss's kernels on a GPU, where there is one: against FP64, and what is kept of a teacher against the processor's.
#include "train/objective_cuda.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "model/cuda_for_test.h"
#include "train/objective_cases_for_test.h"
#include "train/objective_reference.h"

namespace retort::train {
namespace {

void expect_the_formula(const ObjectiveMix& mix, at::ScalarType type, std::int64_t vocabulary) {
  torch::manual_seed(3);
  constexpr std::int64_t kRows = 5;
  const at::Tensor student = (3 * torch::randn({kRows, vocabulary})).to(type);
  const at::Tensor teacher = (3 * torch::randn({kRows, vocabulary})).to(type);
  const std::vector<TokenId> targets = labels(kRows, vocabulary);
  const ReferenceLoss exact = reference_loss(mix, doubles(student), doubles(teacher), targets, vocabulary, -100);
  const CudaObjectiveRows rows = CudaObjectiveRows::make(mix, type).value();
  const at::Tensor on_device = CudaObjectiveRows::labels(targets);
  at::Tensor gradient = student.cuda();
  const LossSums sums = rows.to_sums(rows.run(gradient, teacher.cuda(), on_device, kRows).sum(0), kRows);
  const std::string what = describe(mix) + ", " + std::to_string(vocabulary) + " tokens, " + at::toString(type);
  EXPECT_NEAR(sums.loss / kRows, exact.loss, 1e-5 * std::max(1.0, exact.loss)) << what;
  EXPECT_EQ(sums.bad_student_rows + sums.bad_teacher_rows, 0) << what;
  const at::Tensor expected = torch::tensor(exact.gradient, at::kDouble).view({kRows, vocabulary});
  EXPECT_LT((gradient.to(at::kCPU, at::kDouble) - expected).norm().item<double>(),
            (type == at::kFloat ? 1e-5 : 4e-3) * expected.norm().item<double>() + 1e-9)
      << what;
  at::Tensor left = student.cuda();
  rows.run(left, teacher.cuda(), on_device, 0);
  EXPECT_TRUE(left.cpu().equal(student)) << what;
}

TEST(ObjectiveCuda, LossAndGradientAreThoseOfTheFormula) {
  if (!model::kCudaIsThere) GTEST_SKIP() << "there is no CUDA device";
  for (const ObjectiveMix& mix : objectives()) {
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      for (const std::int64_t vocabulary : {67, 1000, 49152}) expect_the_formula(mix, type, vocabulary);
    }
  }
}

TEST(ObjectiveCuda, CountsRowsThatAreNotFinite) {
  if (!model::kCudaIsThere) GTEST_SKIP() << "there is no CUDA device";
  ObjectiveMix mix;
  mix.weight(Term::kForwardKl) = 1;
  const CudaObjectiveRows rows = CudaObjectiveRows::make(mix, at::kFloat).value();
  for (const std::int64_t vocabulary : {67, 4096}) {
    at::Tensor student = torch::zeros({4, vocabulary}), teacher = torch::zeros({4, vocabulary});
    student[1][4] = std::numeric_limits<float>::quiet_NaN();
    student[3][7] = -std::numeric_limits<float>::infinity();  // that is no mistake
    teacher[0][1] = std::numeric_limits<float>::infinity();
    teacher[2].fill_(-std::numeric_limits<float>::infinity());
    at::Tensor own = student.cuda();
    const at::Tensor summed = rows.run(own, teacher.cuda(), CudaObjectiveRows::labels(labels(4, vocabulary)), 0).sum(0);
    const LossSums sums = rows.to_sums(summed, 4);
    EXPECT_EQ(sums.bad_student_rows, 1) << vocabulary;
    EXPECT_EQ(sums.bad_teacher_rows, 2) << vocabulary;
  }
}

// Slots as a file keeps them: an empty one names the id 0, which may be listed too; a target may be one of them.
TEST(ObjectiveCuda, KeptTokensGiveWhatTheProcessorGives) {
  if (!model::kCudaIsThere) GTEST_SKIP() << "there is no CUDA device";
  torch::manual_seed(4);
  for (const std::int64_t vocabulary : {67, 2048}) {
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
      const at::Tensor logits = 2 * torch::randn({2, vocabulary});
      // Rows 1 and on: the place in the signal counts.
      const std::vector<TokenId> targets = {12, 3};
      at::Tensor by_processor = logits.clone(), by_device = logits.cuda();
      ObjectiveRows processor(mix, vocabulary);
      const LossSums expected = processor.run_sparse(by_processor.data_ptr<float>(), signal, 1, targets, 4);
      const CudaObjectiveRows rows = CudaObjectiveRows::make(mix, at::kFloat).value();
      const at::Tensor on_device = CudaObjectiveRows::labels(targets);
      const LossSums sums = rows.to_sums(rows.run_sparse(by_device, signal, 1, on_device, 4).sum(0), 2);
      EXPECT_NEAR(sums.loss, expected.loss, 2e-5) << bucket;
      EXPECT_NEAR(sums.kl, expected.kl, 2e-5) << bucket;
      EXPECT_NEAR(sums.cross_entropy, expected.cross_entropy, 2e-5) << bucket;
      EXPECT_LT((by_device.cpu() - by_processor).abs().max().item<double>(), 1e-6) << bucket;
      at::Tensor left = logits.cuda();
      rows.run_sparse(left, signal, 1, on_device, 0);
      EXPECT_TRUE(left.cpu().equal(logits)) << bucket;
    }
  }
}

}  // namespace
}  // namespace retort::train
