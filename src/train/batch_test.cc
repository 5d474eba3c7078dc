#include "train/batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "train/step_plan.h"

namespace retort::train {
namespace {

using testing::ElementsAre;

std::vector<std::int64_t> numbers(const torch::Tensor& tensor) {
  const auto flat = tensor.contiguous().flatten();
  return {flat.data_ptr<std::int64_t>(), flat.data_ptr<std::int64_t>() + flat.numel()};
}

TEST(Batch, LeavesPaddingOutAndKeepsDocumentsApart) {
  dataset::PackedRow first;
  first.ids = {5, 6, 7, 8, 0};
  first.positions = {0, 1, 0, 1, 0};
  first.document = {0, 0, 1, 1, -1};
  first.labels = {6, -1, 8, -1, -1};
  first.used = 4;
  first.targets = 2;
  dataset::PackedRow second = first;
  second.ids = {9, 4, 3, 2, 1};
  second.positions = {0, 1, 2, 3, 4};
  second.document = {0, 0, 0, 0, 0};
  second.labels = {-1, 3, 2, 1, -1};
  second.used = 5;
  second.targets = 3;
  const std::vector<dataset::PackedRow> rows = {first, second};
  const Batch batch = make_batch(rows);
  const auto filled_up = [&](std::vector<std::int64_t> used, std::int64_t padding) {
    used.resize(Batch::kLengthStep, padding);
    return used;
  };
  EXPECT_EQ(batch.size(), Batch::kLengthStep);
  EXPECT_EQ(numbers(batch.tokens.ids), filled_up({5, 6, 7, 8, 9, 4, 3, 2, 1}, 0));
  EXPECT_EQ(numbers(batch.tokens.positions), filled_up({0, 1, 0, 1, 0, 1, 2, 3, 4}, 0));
  EXPECT_EQ(numbers(batch.tokens.documents), filled_up({0, 0, 1, 1, 2, 2, 2, 2, 2}, -1));
  EXPECT_THAT(numbers(batch.supervised), ElementsAre(0, 2, 5, 6, 7));
  EXPECT_THAT(batch.targets, ElementsAre(6, 8, 3, 2, 1));
  EXPECT_EQ(micro_batches(rows, 100).size(), 1U);
  EXPECT_EQ(micro_batches(rows, 8).size(), 2U);
  EXPECT_EQ(micro_batches(rows, 1).size(), 2U);  // never less than a row
}

TEST(Batch, IsNotLongerThanItMustBe) {
  dataset::PackedRow row;
  row.used = static_cast<std::int32_t>(Batch::kLengthStep);
  row.ids.assign(Batch::kLengthStep, 5);
  row.positions.assign(Batch::kLengthStep, 0);
  row.document.assign(Batch::kLengthStep, 0);
  row.labels.assign(Batch::kLengthStep, dataset::kNoLabel);
  EXPECT_EQ(make_batch(std::vector{row}).size(), Batch::kLengthStep);
  EXPECT_EQ(make_batch(std::vector{row, row}).size(), 2 * Batch::kLengthStep);
}

TEST(Batch, SumsTheGradientOfATokenThatOccursTwice) {
  for (const auto type : {torch::kFloat, torch::kBFloat16}) {
    auto sum = torch::ones({4, 3});
    const auto gradient = torch::tensor({{1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}, {0.5, 0.5, 0.5}}).to(type);
    add_embedding_gradient(torch::tensor(std::vector<std::int64_t>{2, 0, 2}), gradient, sum);
    EXPECT_TRUE(torch::equal(
        sum, torch::tensor({{5.0, 6.0, 7.0}, {1.0, 1.0, 1.0}, {2.5, 3.5, 4.5}, {1.0, 1.0, 1.0}}).to(torch::kFloat)));
  }
}

std::vector<dataset::Example> examples(std::size_t count) {
  std::vector<dataset::Example> all;
  for (std::size_t i = 0; i < count; ++i) {
    dataset::Example example;
    for (std::size_t j = 0; j < 5 + i % 7; ++j) {
      example.ids.push_back(static_cast<TokenId>(1 + (i * 3 + j) % 9));
      example.supervised.push_back(j >= 2 ? 1 : 0);
    }
    all.push_back(example);
  }
  return all;
}

TEST(StepPlan, CoversEveryEpochOnceAndIsAFunctionOfTheSeed) {
  const auto all = examples(40);
  TrainOptions options;
  options.max_length = 16;
  options.tokens_per_step = 48;
  options.epochs = 3;
  StepPlan plan(all, options);
  std::int64_t targets = 0;
  for (const auto& example : all) targets += example.targets();
  std::vector<std::int64_t> of_epoch(3);
  for (std::size_t i = 0; i < plan.steps().size(); ++i) {
    const PlannedStep& step = plan.steps()[i];
    EXPECT_GE(step.rows, 2);
    EXPECT_LE(step.rows, 4);
    std::int64_t seen = 0;
    for (const auto& row : plan.rows(i)) seen += row.targets;
    EXPECT_EQ(seen, step.targets);
    of_epoch[static_cast<std::size_t>(step.epoch)] += seen;
  }
  EXPECT_THAT(of_epoch, ElementsAre(targets, targets, targets));

  const auto first_ids = [&](std::int64_t seed, std::size_t index) {
    TrainOptions other = options;
    other.seed = seed;
    StepPlan again(all, other);
    return again.rows(index)[0].ids;
  };
  const std::vector<TokenId> late(plan.rows(plan.steps().size() - 1)[0].ids);
  EXPECT_EQ(first_ids(1, plan.steps().size() - 1), late);  // reached directly, as a resumed run does
  EXPECT_NE(first_ids(1, 0), first_ids(2, 0));
  EXPECT_NE(first_ids(1, 0), std::vector<TokenId>(plan.rows(plan.steps().size() / 3)[0].ids));
}

TEST(StepPlan, StopsAtTheTokenBudget) {
  const auto all = examples(40);
  TrainOptions options;
  options.max_length = 16;
  options.tokens_per_step = 48;
  for (const std::int64_t budget : {1, 100, 1000}) {
    options.tokens = budget;
    const StepPlan plan(all, options);
    std::int64_t tokens = 0;
    for (const PlannedStep& step : plan.steps()) tokens += step.tokens;
    EXPECT_GE(tokens, budget);
    EXPECT_LT(tokens, budget + 16);
  }
}

TEST(StepPlan, IsEmptyWhenNothingIsSupervised) {
  auto all = examples(4);
  for (auto& example : all) std::fill(example.supervised.begin(), example.supervised.end(), 0);
  TrainOptions options;
  options.tokens = 100;
  EXPECT_TRUE(StepPlan(all, options).steps().empty());
}

}  // namespace
}  // namespace retort::train
