// What is kept of the teacher, from its file to the gradient.
#include "train/cached_signal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <filesystem>

#include "base/files.h"
#include "base/random.h"
#include "train/batch.h"
#include "train/objective_reference.h"
#include "train/tiny_model_for_test.h"

namespace retort::train {
namespace {

ObjectiveMix forward_kl(double cross_entropy = 0) {
  ObjectiveMix mix;
  mix.weight(Term::kForwardKl) = 1 - cross_entropy;
  mix.weight(Term::kCe) = cross_entropy;
  return mix;
}

struct Row {
  std::vector<float> student, teacher, probabilities;
  double entropy = 0;
};

Row random_row(std::size_t vocabulary) {
  Random random(9);
  Row row;
  double sum = 0;
  for (std::size_t i = 0; i < vocabulary; ++i) {
    row.student.push_back(static_cast<float>(3 * random.normal()));
    row.teacher.push_back(static_cast<float>(3 * random.normal()));
    sum += std::exp(static_cast<double>(row.teacher.back()));
  }
  for (const float z : row.teacher) {
    const double p = std::exp(static_cast<double>(z)) / sum;
    row.probabilities.push_back(static_cast<float>(p));
    row.entropy -= p * std::log(p);
  }
  return row;
}

SparseSignal signal_of(const std::vector<dataset::SignalSlot>& slots, bool bucket, double entropy) {
  SparseSignal signal;
  signal.slots = slots.size();
  signal.bucket = bucket;
  signal.entropies = {static_cast<float>(entropy)};
  for (const dataset::SignalSlot& slot : slots) {
    signal.ids.push_back(slot.id);
    signal.weights.push_back(slot.weight);
  }
  return signal;
}

struct Made {
  LossSums sums;
  std::vector<float> gradient;
};

Made run(const ObjectiveMix& mix, const Row& row, const SparseSignal& signal, TokenId target) {
  ObjectiveRows objective(mix, static_cast<std::int64_t>(row.student.size()));
  Made made{{}, row.student};
  made.sums = objective.run_sparse(made.gradient.data(), signal, 0, std::vector<TokenId>{target}, 1);
  return made;
}

Made run_dense(const ObjectiveMix& mix, const Row& row, TokenId target) {
  ObjectiveRows objective(mix, static_cast<std::int64_t>(row.student.size()));
  Made made{{}, row.student};
  made.sums = objective.run(made.gradient.data(), row.teacher.data(), std::vector<TokenId>{target}, 1);
  return made;
}

// The promise of the sampled signal: loss and gradient are the dense ones on average.
TEST(SparseRows, MeanOverDrawsIsTheDenseLossAndGradient) {
  constexpr int kDraws = 20'000;
  const Row row = random_row(53);
  for (const double temperature : {1.0, 2.0}) {
    ObjectiveMix mix = forward_kl(0.2);
    mix.temperature = temperature;
    Row scaled = row;  // what a cache made at this temperature would have drawn from
    double sum = 0;
    for (const float z : row.teacher) sum += std::exp(static_cast<double>(z) / temperature);
    scaled.entropy = 0;
    for (std::size_t i = 0; i < 53; ++i) {
      const double p = std::exp(static_cast<double>(row.teacher[i]) / temperature) / sum;
      scaled.probabilities[i] = static_cast<float>(p);
      scaled.entropy -= p * std::log(p);
    }
    const Made dense = run_dense(mix, row, 7);
    std::vector<double> mean(53), squares(53);
    double loss = 0;
    double loss_squares = 0;
    Random random(4);
    for (int draw = 0; draw < kDraws; ++draw) {
      const Made made =
          run(mix, scaled, signal_of(dataset::draw_slots(scaled.probabilities, 6, random), false, scaled.entropy), 7);
      for (std::size_t i = 0; i < 53; ++i) {
        const auto value = static_cast<double>(made.gradient[i]);
        mean[i] += value / kDraws;
        squares[i] += value * value / kDraws;
      }
      loss += made.sums.loss / kDraws;
      loss_squares += made.sums.loss * made.sums.loss / kDraws;
    }
    for (std::size_t i = 0; i < 53; ++i) {
      const double error = std::sqrt(std::max(squares[i] - mean[i] * mean[i], 0.0) / kDraws);
      EXPECT_NEAR(mean[i], dense.gradient[i], 4.5 * error + 1e-6) << i;
    }
    EXPECT_NEAR(loss, dense.sums.loss, 4.5 * std::sqrt((loss_squares - loss * loss) / kDraws) + 1e-5);
  }
}

TEST(SparseRows, LossAndGradientAreThoseOfTheFormula) {
  const Row row = random_row(53);
  Random random(3);
  const std::vector<dataset::SignalSlot> drawn = dataset::draw_slots(row.probabilities, 6, random);
  const std::vector<dataset::SignalSlot> likeliest = dataset::top_slots(row.probabilities, 6);
  const std::vector<dataset::SignalSlot> told = {{9, 0.3F}, {11, 0.2F}, {0, 0}};
  const std::vector<dataset::SignalSlot> text = {{9, 1}, {0, 0}, {0, 0}};
  for (const double temperature : {1.0, 2.0}) {
    for (const auto& [slots, bucket] :
         {std::pair{&drawn, false}, std::pair{&likeliest, true}, std::pair{&told, true}, std::pair{&text, true}}) {
      ObjectiveMix mix = forward_kl(0.25);
      mix.temperature = temperature;
      const SparseSignal signal = signal_of(*slots, bucket, row.entropy);
      const Made made = run(mix, row, signal, 9);
      const std::vector<double> student(row.student.begin(), row.student.end());
      const ReferenceLoss exact = reference_loss(mix, student, signal, std::vector<TokenId>{9}, 53);
      EXPECT_NEAR(made.sums.loss, exact.loss, 1e-5);
      for (std::size_t i = 0; i < 53; ++i) EXPECT_NEAR(made.gradient[i], exact.gradient[i], 1e-6) << i;
    }
  }
}

// Told the drawn token's probability alone, the student's is pulled to it from either side.
TEST(SparseRows, OneToldTokenHasItsProbabilityAsTheMinimum) {
  const Row row = random_row(53);
  double sum = 0;
  for (const float z : row.student) sum += std::exp(static_cast<double>(z));
  const auto q = static_cast<float>(std::exp(static_cast<double>(row.student[9])) / sum);
  const auto pull = [&](float p) { return run(forward_kl(), row, signal_of({{9, p}}, true, 0), 9).gradient[9]; };
  EXPECT_NEAR(pull(q), 0, 1e-6);
  EXPECT_NEAR(pull(q / 2), q / 2, 0.1F * q);
  EXPECT_NEAR(pull(2 * q), -q, 0.1F * q);
}

// With every token listed, both kinds are the dense objective.
TEST(SparseRows, AllTokensAreTheWholeDistribution) {
  const Row row = random_row(37);
  const Made dense = run_dense(forward_kl(0.3), row, 5);
  const auto all = dataset::top_slots(row.probabilities, 37);
  for (const bool bucket : {false, true}) {
    const Made made = run(forward_kl(0.3), row, signal_of(all, bucket, row.entropy), 5);
    EXPECT_NEAR(made.sums.kl, dense.sums.kl, 3e-3) << bucket;  // weights are 65,535ths, rounded down
    for (std::size_t i = 0; i < 37; ++i) EXPECT_NEAR(made.gradient[i], dense.gradient[i], 1e-3) << bucket << " " << i;
  }
}

// Pitfall: a top-k without its tail is no divergence and teaches the student to empty it.
TEST(SparseRows, TopKWithItsTailIsADivergenceAndItsGradientTheSlope) {
  Row row = random_row(53);
  // A student that knows something: else nearly all of its mass lies in the bucket, where little can be seen.
  for (std::size_t i = 0; i < 53; ++i) row.student[i] = 0.3F * row.student[i] + 0.8F * row.teacher[i];
  for (const TokenId target : {2, 50}) {
    for (const std::size_t k : {1U, 8U}) {
      const auto signal = signal_of(dataset::top_slots(row.probabilities, k), true, 0);
      const Made made = run(forward_kl(0.25), row, signal, target);
      EXPECT_GE(made.sums.kl, 0);
      EXPECT_LE(made.sums.kl, run_dense(forward_kl(), row, target).sums.kl + 1e-3);  // coarser never says more
      for (std::size_t i = 0; i < 53; ++i) {
        const auto loss_at = [&](float shift) {
          Row moved = row;
          moved.student[i] += shift;
          return run(forward_kl(0.25), moved, signal, target).sums.loss;
        };
        EXPECT_NEAR((loss_at(0.01F) - loss_at(-0.01F)) / 0.02, made.gradient[i], 2e-4) << k << " " << i;
      }
      Row same = row;
      same.student = row.teacher;
      EXPECT_NEAR(run(forward_kl(), same, signal, target).sums.kl, 0, 1e-4);
    }
  }
}

TEST(SparseRows, WithoutTokensItIsCrossEntropy) {
  const Row row = random_row(53);
  const Made dense = run_dense(forward_kl(1), row, 11);
  const Made made = run(forward_kl(1), row, {}, 11);
  EXPECT_NEAR(made.sums.loss, dense.sums.loss, 1e-6);
  for (std::size_t i = 0; i < 53; ++i) EXPECT_NEAR(made.gradient[i], dense.gradient[i], 1e-6) << i;
}

TEST(SparseRows, EveryInstructionSetAndBf16Agree) {
  const Kernels* variants[3] = {};
  const std::size_t count = kernel_variants(variants);
  const Row row = random_row(1003);
  const auto slots = dataset::top_slots(row.probabilities, 8);
  const SparseSignal signal = signal_of(slots, true, 0);
  const SparseTokens tokens{signal.ids.data(), signal.weights.data(), 8, true, 0};
  std::vector<float> scratch(row_scratch(1003));
  std::vector<float> first = row.student;
  const RowLoss expected =
      variants[0]->sparse_row_f32(first.data(), 1003, tokens, 3, {0.5F, 0.5F}, true, scratch.data());
  for (std::size_t v = 1; v < count; ++v) {
    std::vector<float> other = row.student;
    const RowLoss loss = variants[v]->sparse_row_f32(other.data(), 1003, tokens, 3, {0.5F, 0.5F}, true, scratch.data());
    EXPECT_NEAR(loss.loss, expected.loss, 1e-6 * expected.loss);
    for (std::size_t i = 0; i < 1003; ++i) ASSERT_NEAR(other[i], first[i], 1e-6) << i;
  }
  std::vector<Bf16> low(1003);
  kernels().to_bf16(row.student.data(), low.data(), 1003);
  const RowLoss loss = kernels().sparse_row_bf16(low.data(), 1003, tokens, 3, {0.5F, 0.5F}, true, scratch.data());
  EXPECT_NEAR(loss.loss, expected.loss, 0.01 * expected.loss);
  for (std::size_t i = 0; i < 1003; ++i) {
    const float value = std::bit_cast<float>(static_cast<std::uint32_t>(low[i]) << 16);
    ASSERT_NEAR(value, first[i], 0.02 * std::abs(first[i]) + 1e-3) << i;
  }
}

class CachedSignalTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) / "cached_signal_test";
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    path_ = folder_ / "teacher.signal";
    options_.max_length = 12;  // cuts some of the examples
    options_.micro_batch_tokens = 40;
    options_.head_rows = 7;
    options_.signal_top_k = 61;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_, path_;
  TrainOptions options_;
  SilentProgress progress_;
};

// The trap of the field: rows off by one. Each target of a packed batch finds the teacher's own distribution there.
TEST_F(CachedSignalTest, EveryTargetFindsItsOwnRow) {
  const auto teacher = tiny_decoder(tiny_config(true, 2), 1, model::ComputeType::kFloat32);
  const auto examples = tiny_examples(30);
  const auto header = signal_header(examples, options_, dataset::SignalKind::kTopK, 61);
  ASSERT_TRUE(write_signal(teacher, examples, options_, header, path_, progress_, {}));
  const auto file = dataset::SignalFile::open(path_);
  ASSERT_TRUE(file) << file.error().message;
  const CachedSignal cached(&*file, examples, options_.max_length);
  dataset::PackOptions pack;
  pack.max_length = 12;
  pack.seed = 5;
  const dataset::Packing packing = dataset::pack(examples, pack);
  const Batch batch = make_batch(packing.rows);
  const SparseSignal signal = cached.find(packing.rows);
  ASSERT_EQ(signal.entropies.size(), batch.targets.size());
  EXPECT_EQ(signal.slots, 60U);  // one token is left for the rest
  const torch::NoGradGuard no_gradient;
  const auto hidden = teacher.forward(batch.tokens).flatten(0, 1).index_select(0, batch.supervised);
  const auto p = torch::softmax(torch::mm(hidden, teacher.head_weight().t()), 1);
  for (std::size_t row = 0; row < batch.targets.size(); ++row) {
    for (std::size_t slot = 0; slot < signal.slots; ++slot) {
      const std::size_t at = row * signal.slots + slot;
      ASSERT_NEAR(signal.weights[at], p[static_cast<std::int64_t>(row)][signal.ids[at]].item<double>(), 3e-5);
    }
  }
}

TEST_F(CachedSignalTest, GoesOnAfterAStopWithTheSameBytes) {
  const auto teacher = tiny_decoder(tiny_config(true, 1), 1, model::ComputeType::kFloat32);
  const auto examples = tiny_examples(300);  // more than a block
  const auto header = signal_header(examples, options_, dataset::SignalKind::kSampled, 61);
  ASSERT_GT(header.rows, dataset::kSignalBlockRows);
  ASSERT_TRUE(write_signal(teacher, examples, options_, header, path_, progress_, {}));
  const std::string whole = *read_file(path_);
  std::filesystem::remove(path_);

  class Stopping final : public Progress {
   public:
    void begin(std::string_view, double, std::string_view) override {}
    void advance(double done, std::string_view) override {
      if (done > 1100) source.request_stop();
    }
    void end(std::string_view) override {}
    void note(std::string_view) override {}
    std::stop_source source;
  } stopping;
  const auto stopped = write_signal(teacher, examples, options_, header, path_, stopping, stopping.source.get_token());
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().fault, Fault::kInterrupted);
  EXPECT_FALSE(std::filesystem::exists(path_));
  ASSERT_TRUE(write_signal(teacher, examples, options_, header, path_, progress_, {}));
  EXPECT_EQ(*read_file(path_), whole);
}

}  // namespace
}  // namespace retort::train
