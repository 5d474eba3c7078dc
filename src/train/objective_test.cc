#include "train/objective.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "train/kernels.h"

namespace retort::train {
namespace {

ObjectiveMix with_cross_entropy(double weight) {
  ObjectiveMix mix;
  mix.weight(Term::kForwardKl) = 1 - weight;
  mix.weight(Term::kCe) = weight;
  return mix;
}

struct Problem {
  torch::Tensor student_hidden, student_head, teacher_hidden, teacher_head;
  std::vector<TokenId> targets;
};

// Vocabulary 37: not a multiple of the 16 lanes. Teacher and student of different width.
Problem tiny(std::int64_t rows, std::int64_t vocabulary = 37, double sharpness = 1.5) {
  torch::manual_seed(7);
  Problem problem;
  problem.student_hidden = torch::randn({rows, 8}) * sharpness;
  problem.student_head = torch::randn({vocabulary, 8});
  problem.teacher_hidden = torch::randn({rows, 12}) * sharpness;
  problem.teacher_head = torch::randn({vocabulary, 12});
  for (std::int64_t i = 0; i < rows; ++i) problem.targets.push_back(static_cast<TokenId>((i * 11 + 3) % vocabulary));
  return problem;
}

struct Reference {
  double kl = 0, cross_entropy = 0;
  torch::Tensor hidden_gradient, head_gradient;
};

// FP64 and libtorch's own autograd.
Reference reference(const Problem& problem, double weight, double tokens) {
  auto hidden = problem.student_hidden.to(torch::kDouble).detach().requires_grad_();
  auto head = problem.student_head.to(torch::kDouble).detach().requires_grad_();
  auto q = torch::log_softmax(torch::mm(hidden, head.t()), 1);
  auto p = torch::log_softmax(
      torch::mm(problem.teacher_hidden.to(torch::kDouble), problem.teacher_head.to(torch::kDouble).t()), 1);
  auto kl = (p.exp() * (p - q)).sum();
  auto targets = torch::tensor(std::vector<std::int64_t>(problem.targets.begin(), problem.targets.end()));
  auto cross_entropy = -q.gather(1, targets.unsqueeze(1)).sum();
  (((1 - weight) * kl + weight * cross_entropy) / tokens).backward();
  return {kl.item<double>(), cross_entropy.item<double>(), hidden.grad(), head.grad()};
}

double worst(const torch::Tensor& a, const torch::Tensor& b) {
  return (a.to(torch::kDouble) - b.to(torch::kDouble)).abs().max().item<double>();
}

TEST(Objective, EqualsAutogradInDoublePrecision) {
  for (const double weight : {0.0, 0.3, 1.0}) {
    const Problem problem = tiny(10);
    const Reference expected = reference(problem, weight, 25);
    Objective objective(37, 4, at::kFloat, with_cross_entropy(weight),
                        with_cross_entropy(weight));  // 3 chunks, the last of 2 rows
    auto hidden = torch::empty_like(problem.student_hidden);
    auto head = torch::zeros_like(problem.student_head);
    const LossSums sums =
        objective.backward(RowSource::kData, problem.student_hidden, problem.student_head, problem.teacher_hidden,
                           problem.teacher_head, problem.targets, 25, hidden, head);
    EXPECT_EQ(sums.tokens, 10);
    EXPECT_NEAR(sums.kl, expected.kl, 1e-4 * expected.kl);
    EXPECT_NEAR(sums.cross_entropy, expected.cross_entropy, 1e-4 * expected.cross_entropy);
    EXPECT_LT(worst(hidden, expected.hidden_gradient), 2e-6);
    EXPECT_LT(worst(head, expected.head_gradient), 2e-6);
  }
}

TEST(Objective, GradientIsTheSlopeOfTheLoss) {
  Problem problem = tiny(3);
  Objective objective(37, 8, at::kFloat, with_cross_entropy(0.25), with_cross_entropy(0.25));
  auto hidden = torch::empty_like(problem.student_hidden);
  auto head = torch::zeros_like(problem.student_head);
  objective.backward(RowSource::kData, problem.student_hidden, problem.student_head, problem.teacher_hidden,
                     problem.teacher_head, problem.targets, 3, hidden, head);
  const auto loss = [&](double shift) {
    Problem moved = problem;
    moved.student_hidden = problem.student_hidden.clone();
    moved.student_hidden[1][5] += shift;
    const LossSums sums = objective.measure(moved.student_hidden, moved.student_head, moved.teacher_hidden,
                                            moved.teacher_head, moved.targets);
    return (0.75 * sums.kl + 0.25 * sums.cross_entropy) / 3;
  };
  EXPECT_NEAR((loss(0.01) - loss(-0.01)) / 0.02, hidden[1][5].item<double>(), 2e-4);
}

// Pitfall: a loss divided by what one micro-batch holds depends on how the batch was split.
TEST(Objective, DoesNotDependOnHowTheBatchIsSplit) {
  const Problem problem = tiny(12);
  const auto run = [&](const std::vector<std::int64_t>& parts, std::int64_t chunk) {
    Objective objective(37, chunk, at::kFloat, with_cross_entropy(0.5), with_cross_entropy(0.5));
    auto hidden = torch::empty_like(problem.student_hidden);
    auto head = torch::zeros_like(problem.student_head);
    LossSums sums;
    std::int64_t begin = 0;
    for (const std::int64_t count : parts) {
      auto slice = hidden.narrow(0, begin, count);
      sums += objective.backward(
          RowSource::kData, problem.student_hidden.narrow(0, begin, count), problem.student_head,
          problem.teacher_hidden.narrow(0, begin, count), problem.teacher_head,
          std::span(problem.targets).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count)), 12,
          slice, head);
      begin += count;
    }
    return std::tuple(sums, hidden, head);
  };
  const auto [whole, whole_hidden, whole_head] = run({12}, 12);
  const auto [parts, parts_hidden, parts_head] = run({1, 7, 4}, 3);
  EXPECT_NEAR(whole.kl, parts.kl, 1e-5);
  EXPECT_EQ(whole.tokens, parts.tokens);
  EXPECT_LT(worst(whole_hidden, parts_hidden), 1e-7);
  EXPECT_LT(worst(whole_head, parts_head), 1e-6);
}

// Where nothing was added to the head's gradient yet, its memory may hold anything.
TEST(Objective, OverwritesTheHeadsGradientWhereToldTo) {
  const Problem problem = tiny(12);
  for (const auto type : {torch::kFloat, torch::kBFloat16}) {
    for (const auto backend : {model::Backend::kKernels, model::Backend::kTensors}) {
      const auto run = [&](torch::Tensor head, bool overwrites) {
        Objective objective(37, 5, type, with_cross_entropy(0.5), with_cross_entropy(0.5), backend);
        auto hidden = torch::empty_like(problem.student_hidden, type);
        objective.backward(RowSource::kData, problem.student_hidden.to(type), problem.student_head.to(type),
                           problem.teacher_hidden.to(type), problem.teacher_head.to(type), problem.targets, 12, hidden,
                           head, overwrites);
        return head;
      };
      const auto filled = torch::full_like(problem.student_head, 7.0F);
      const auto added = run(torch::zeros_like(problem.student_head), false);
      EXPECT_TRUE(torch::equal(run(filled.clone(), true), added));
      EXPECT_FALSE(torch::equal(run(filled.clone(), false), added));
    }
  }
}

// Trap: logits in BF16 make negative KLs when the softmax is in BF16 too. Here it is FP32 on whatever the logits are.
TEST(Objective, IsNeverNegativeInBf16) {
  for (const double sharpness : {0.01, 0.5, 3.0, 20.0}) {
    Problem problem = tiny(64, 4096, sharpness);
    const auto low = [](const torch::Tensor& tensor) { return tensor.to(torch::kBFloat16); };
    Objective objective(4096, 16, at::kBFloat16, with_cross_entropy(0.0), with_cross_entropy(0.0));
    // The student nearly the teacher: the KL is nearly zero, where the sign is lost first.
    auto nearly = low(problem.teacher_hidden * (1 + 1e-3 * torch::randn({64, 12})));
    for (std::int64_t row = 0; row < 64; ++row) {
      const std::vector<TokenId> target = {problem.targets[static_cast<std::size_t>(row)]};
      const LossSums sums =
          objective.measure(nearly.narrow(0, row, 1), low(problem.teacher_head),
                            low(problem.teacher_hidden).narrow(0, row, 1), low(problem.teacher_head), target);
      EXPECT_GE(sums.kl, 0) << sharpness;
      EXPECT_LT(sums.kl, 5.0);
    }
    // And of a model with itself exactly nothing.
    const LossSums same = objective.measure(low(problem.teacher_hidden), low(problem.teacher_head),
                                            low(problem.teacher_hidden), low(problem.teacher_head), problem.targets);
    EXPECT_EQ(same.kl, 0);
  }
}

TEST(Objective, Bf16IsNearDoublePrecision) {
  Problem problem = tiny(48, 1024, 1.0);
  for (torch::Tensor* tensor :
       {&problem.student_hidden, &problem.student_head, &problem.teacher_hidden, &problem.teacher_head}) {
    *tensor = tensor->to(torch::kBFloat16);
  }
  const Reference expected = reference(problem, 0, 48);
  Objective objective(1024, 20, at::kBFloat16, with_cross_entropy(0.0), with_cross_entropy(0.0));
  auto hidden = torch::empty_like(problem.student_hidden);
  auto head = torch::zeros({1024, 8});
  const LossSums sums =
      objective.backward(RowSource::kData, problem.student_hidden, problem.student_head, problem.teacher_hidden,
                         problem.teacher_head, problem.targets, 48, hidden, head);
  EXPECT_NEAR(sums.kl, expected.kl, 0.01 * expected.kl);
  EXPECT_LT(worst(hidden, expected.hidden_gradient), 0.04 * expected.hidden_gradient.abs().max().item<double>());
  EXPECT_LT(worst(head, expected.head_gradient), 0.04 * expected.head_gradient.abs().max().item<double>());
}

TEST(Kernels, EveryInstructionSetAgrees) {
  const Kernels* variants[3] = {};
  const std::size_t count = kernel_variants(variants);
  constexpr std::size_t n = 5003;
  std::vector<float> student(n), teacher(n);
  for (std::size_t i = 0; i < n; ++i) {
    student[i] = 12.0F * std::sin(0.37F * static_cast<float>(i));
    teacher[i] = 12.0F * std::sin(0.37F * static_cast<float>(i) + 0.2F) - 90.0F * static_cast<float>(i % 7 == 0);
  }
  std::vector<float> scratch(row_scratch(n));
  std::vector<float> first = student;
  const RowLoss expected =
      variants[0]->kl_row_f32(first.data(), teacher.data(), n, 17, {0.7F, 0.3F, 0.5F}, true, scratch.data());
  // Against the plain formulae in double precision.
  double zs = 0, zt = 0, kl = 0;
  for (std::size_t i = 0; i < n; ++i) zs += std::exp(double(student[i])), zt += std::exp(double(teacher[i]));
  for (std::size_t i = 0; i < n; ++i) {
    const double p = std::exp(double(teacher[i])) / zt, q = std::exp(double(student[i])) / zs;
    if (p > 0) kl += p * (double(teacher[i]) - std::log(zt) - double(student[i]) + std::log(zs));
    const double gradient = 0.5 * (q - 0.7 * p - (i == 17 ? 0.3 : 0.0));
    ASSERT_NEAR(first[i], gradient, 1e-7) << i;
  }
  EXPECT_NEAR(expected.kl, kl, 1e-5 * kl);
  EXPECT_NEAR(expected.cross_entropy, std::log(zs) - double(student[17]), 1e-5);
  for (std::size_t v = 1; v < count; ++v) {
    std::vector<float> other = student;
    const RowLoss loss =
        variants[v]->kl_row_f32(other.data(), teacher.data(), n, 17, {0.7F, 0.3F, 0.5F}, true, scratch.data());
    EXPECT_NEAR(loss.kl, expected.kl, 1e-6 * kl) << variants[v]->name;
    for (std::size_t i = 0; i < n; ++i) {
      ASSERT_NEAR(other[i], first[i], 1e-8 + 2e-7 * std::abs(first[i])) << variants[v]->name << " " << i;
    }
  }
}

}  // namespace
}  // namespace retort::train
