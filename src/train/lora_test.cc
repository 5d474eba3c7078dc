#include "train/lora.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "model/hugging_face.h"
#include "model/safetensors.h"
#include "model/weights.h"
#include "train/metrics.h"
#include "train/step.h"
#include "train/tiny_model_for_test.h"
#include "train/train.h"

namespace retort::train {
namespace {

using testing::Contains;
using testing::HasSubstr;

TrainOptions lora_options() {
  TrainOptions options;
  options.max_length = 24;
  options.tokens_per_step = 96;
  options.epochs = 3;
  options.learning_rate = 1e-2;
  options.head_rows = 16;
  options.held_out_every = 2;
  options.checkpoint_every = 0;
  options.lora_rank = 4;
  options.lora_alpha = 6;
  return options;
}

dataset::Packing packed(std::size_t examples) {
  dataset::PackOptions options;
  options.max_length = 40;
  const auto list = tiny_examples(examples);
  return dataset::pack(list, options);
}

std::map<std::string, torch::Tensor> by_name(const std::vector<model::NamedTensor>& tensors) {
  std::map<std::string, torch::Tensor> all;
  for (const auto& [name, tensor] : tensors) all[name] = tensor.detach().clone();
  return all;
}

class Notes final : public Progress {
 public:
  explicit Notes(int stop_after = 0) : left_(stop_after) {}
  void begin(std::string_view, double, std::string_view) override {}
  void advance(double, std::string_view) override {
    if (--left_ == 0) source.request_stop();
  }
  void end(std::string_view) override {}
  void note(std::string_view sentence) override { said.emplace_back(sentence); }
  std::vector<std::string> said;
  std::stop_source source;

 private:
  int left_;
};

class LoraTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::temp_directory_path() /
            ("retort_lora_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::remove_all(root_);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  static model::Decoder student() { return tiny_decoder(tiny_config(true, 2), 2, model::ComputeType::kFloat32); }

  Result<TrainSummary> run(const std::string& name, model::ComputeType compute, const TrainOptions& options,
                           int stop_after = 0, const TrainHelpers& helpers = {}) {
    const auto teacher = tiny_decoder(tiny_config(true, 3), 1, compute);
    const auto examples = tiny_examples(40);
    const auto held_out = tiny_examples(8, 100);
    Notes notes(stop_after);
    auto result = train(teacher, student(), {examples, held_out}, options, root_ / name, clock_, notes,
                        notes.source.get_token(), helpers);
    said_ = notes.said;
    return result;
  }

  std::vector<StepMetrics> metrics(const std::string& name) {
    auto read = read_metrics(root_ / name / "metrics.jsonl");
    RETORT_CHECK(read.has_value());
    return *read;
  }

  std::filesystem::path root_;
  SystemClock clock_;
  std::vector<std::string> said_;
};

TEST_F(LoraTest, LearnsAndLeavesWhatIsFrozen) {
  for (const auto compute : {model::ComputeType::kFloat32, model::ComputeType::kBFloat16}) {
    for (const std::string targets : {"all", "attention", "mlp"}) {
      const std::string name = std::string(model::name_of(compute)) + targets;
      TrainOptions options = lora_options();
      options.lora_targets = targets;
      options.epochs = 20;
      const auto summary = run(name, compute, options);
      ASSERT_TRUE(summary) << summary.error().message;
      EXPECT_LT(summary->final_loss, 0.8 * summary->first_loss) << name;
      EXPECT_LT(summary->held_out_kl, 0.9 * summary->held_out_kl_before) << name;
      EXPECT_THAT(said_, Contains(HasSubstr("Adapters of rank 4 are trained beside")));

      // The student's file: what was frozen to the bit, and W + alpha / rank B A of the adapters' own file.
      const auto weights = model::load_weights(summary->checkpoint);
      ASSERT_TRUE(weights) << weights.error().message;
      const auto file = model::SafetensorsReader::open(root_ / name / "adapter" / "adapter_model.safetensors");
      ASSERT_TRUE(file) << file.error().message;
      const auto before = by_name(student().named_parameters());
      const auto adapted = model::adapted_matrices(tiny_config(true, 2), adapter_config(options));
      EXPECT_EQ(file->tensors().size(), 2 * adapted.size());
      for (const auto& [tensor_name, tensor] : weights->tensors) {
        const torch::Tensor& base = before.at(tensor_name);
        if (std::find(adapted.begin(), adapted.end(), tensor_name) == adapted.end()) {
          EXPECT_TRUE(torch::equal(tensor, base)) << tensor_name;
          continue;
        }
        EXPECT_FALSE(torch::equal(tensor, base)) << tensor_name;
        const auto read = [&](const std::string& kind) {
          std::string own = model::hugging_face_name(tensor_name);
          own = "base_model.model." + own.substr(0, own.rfind(".weight")) + ".lora_" + kind + ".weight";
          const auto* stored = file->find(own);
          RETORT_CHECK(stored != nullptr);
          return torch::tensor(*file->floats(*stored)).view(stored->shape).to(torch::kFloat64);
        };
        const auto expected = base.to(torch::kFloat64) + 1.5 * read("B").mm(read("A"));
        EXPECT_LT((tensor - expected).abs().max().item<double>(), 1e-6) << tensor_name;
      }

      // What was shipped measures as what was trained did.
      auto shipped = model::Decoder::from_tensors(weights->config, weights->tensors, model::ComputeType::kFloat32);
      ASSERT_TRUE(shipped);
      const auto teacher = tiny_decoder(tiny_config(true, 3), 1, compute);
      TrainOptions plain = options;
      plain.lora_rank = 0;
      StepRunner runner(teacher, *shipped, plain, clock_);
      const auto held_out = tiny_examples(8, 100);
      dataset::PackOptions pack;
      pack.max_length = 24;
      const Batch batch = make_batch(dataset::pack(held_out, pack).rows);
      const LossSums sums = runner.measure(batch, runner.teacher_hidden(batch));
      const double kl = sums.kl / static_cast<double>(sums.tokens);
      EXPECT_NEAR(kl, summary->held_out_kl, (compute == model::ComputeType::kFloat32 ? 1e-4 : 0.05) * kl) << name;
    }
  }
}

// The losses of the weights themselves before anything is learnt: to the bit, or where sums are rounded, nearly.
TEST_F(LoraTest, BeginsWhereTheWeightsBegin) {
  for (const auto compute : {model::ComputeType::kFloat32, model::ComputeType::kBFloat16}) {
    const std::string kind(model::name_of(compute));
    TrainOptions options = lora_options();
    options.epochs = 1;
    ASSERT_TRUE(run("adapters" + kind, compute, options));
    options.lora_rank = 0;
    options.lora_alpha = TrainOptions().lora_alpha;
    ASSERT_TRUE(run("weights" + kind, compute, options));
    const double loss = metrics("weights" + kind)[0].loss;
    EXPECT_NEAR(metrics("adapters" + kind)[0].loss, loss, compute == model::ComputeType::kFloat32 ? 0 : 1e-3 * loss);
    EXPECT_NE(metrics("adapters" + kind)[1].loss, metrics("weights" + kind)[1].loss);
  }
}

TEST_F(LoraTest, GoesOnAsIfItHadNeverStopped) {
  for (const auto compute : {model::ComputeType::kFloat32, model::ComputeType::kBFloat16}) {
    for (const std::int64_t bits : {32, 8}) {
      TrainOptions options = lora_options();
      options.optimiser_bits = bits;
      options.lora_rank = 16;
      const std::string kind = std::string(model::name_of(compute)) + std::to_string(bits);
      ASSERT_TRUE(run("whole" + kind, compute, options));
      const auto stopped = run("parts" + kind, compute, options, 3);
      ASSERT_FALSE(stopped);
      // Only adapters are in the state.
      const auto reader = model::SafetensorsReader::open(root_ / ("parts" + kind) / "checkpoint.safetensors");
      ASSERT_TRUE(reader);
      for (const auto& tensor : reader->tensors()) EXPECT_THAT(tensor.name, HasSubstr(".lora_"));
      EXPECT_EQ(reader->tensors().size(), (bits == 32 ? 3U : 5U) * 28U);
      ASSERT_TRUE(run("parts" + kind, compute, options));
      const auto a = metrics("whole" + kind);
      const auto b = metrics("parts" + kind);
      ASSERT_EQ(a.size(), b.size());
      for (std::size_t i = 0; i < a.size(); ++i) {
        EXPECT_EQ(a[i].loss, b[i].loss) << i;
        EXPECT_EQ(a[i].gradient_norm, b[i].gradient_norm) << i;
        EXPECT_EQ(a[i].held_out_kl, b[i].held_out_kl) << i;
      }
      for (const char* file : {"student.safetensors", "adapter/adapter_model.safetensors"}) {
        EXPECT_EQ(*read_file(root_ / ("whole" + kind) / file), *read_file(root_ / ("parts" + kind) / file)) << file;
      }
      // Another rank, another training.
      TrainOptions other = options;
      other.lora_alpha = 3;
      const auto refused = run("parts" + kind, compute, other);
      ASSERT_FALSE(refused);
      EXPECT_THAT(refused.error().message, HasSubstr("another"));
    }
  }
}

// The FP32 weights needn't be kept while it lasts, but must be the same when they come again.
TEST_F(LoraTest, MergesIntoWeightsThatAreMadeAgain) {
  constexpr auto kCompute = model::ComputeType::kBFloat16;
  ASSERT_TRUE(run("kept", kCompute, lora_options()));
  TrainHelpers helpers;
  int made = 0;
  helpers.make_student_again = [&]() -> Result<model::Decoder> {
    ++made;
    return student();
  };
  ASSERT_TRUE(run("again", kCompute, lora_options(), 0, helpers));
  EXPECT_EQ(made, 1);
  EXPECT_EQ(*read_file(root_ / "kept" / "student.safetensors"), *read_file(root_ / "again" / "student.safetensors"));

  helpers.make_student_again = []() -> Result<model::Decoder> {
    return tiny_decoder(tiny_config(true, 2), 3, model::ComputeType::kFloat32);
  };
  const auto other = run("other", kCompute, lora_options(), 0, helpers);
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().fault, Fault::kWorld);
  EXPECT_THAT(other.error().message, HasSubstr("can't be merged"));
  EXPECT_FALSE(std::filesystem::exists(root_ / "other" / "student.safetensors"));
}

TEST_F(LoraTest, GradientIsTheSlopeOfTheLoss) {
  const auto teacher = tiny_decoder(tiny_config(true, 2), 1, model::ComputeType::kFloat32);
  StepRunner runner(teacher, student(), lora_options(), clock_);
  torch::manual_seed(7);
  for (AdamWParameter& parameter : runner.optimiser().parameters()) {
    if (parameter.name.ends_with("_b")) parameter.master.write(0.1 * torch::randn(parameter.master.sizes()));
  }
  const dataset::Packing packing = packed(6);
  runner.gradients({packing.rows, {}}, 60);
  const Batch batch = make_batch(packing.rows);
  const torch::Tensor hidden = runner.teacher_hidden(batch);
  const auto loss = [&] {
    const LossSums sums = runner.measure(batch, hidden);
    return sums.kl / static_cast<double>(sums.tokens);
  };
  EXPECT_EQ(runner.optimiser().parameters().size(), 28U);
  for (AdamWParameter& parameter : runner.optimiser().parameters()) {
    const double norm = parameter.gradient.norm().item<double>();
    EXPECT_GT(norm, 1e-3) << parameter.name;
    const torch::Tensor direction = parameter.gradient / norm;
    EXPECT_NEAR(slope_along(parameter, direction, loss), norm, 0.01 * norm + 2e-4) << parameter.name;
  }
}

TEST_F(LoraTest, RecomputationChangesNoBitAndSplittingOnlyRounding) {
  for (const auto compute : {model::ComputeType::kFloat32, model::ComputeType::kBFloat16}) {
    const auto teacher = tiny_decoder(tiny_config(true, 3), 1, compute);
    TrainOptions options = lora_options();
    options.micro_batch_tokens = 60;
    options.hidden_state_weight = 0.5;
    StepRunner kept(teacher, student(), options, clock_);
    TrainOptions split = options;
    split.micro_batch_tokens = 1;
    StepRunner in_parts(teacher, student(), split, clock_);
    options.recompute = "blocks";
    StepRunner recomputed(teacher, student(), options, clock_);
    const dataset::Packing packing = packed(12);
    for (int step = 0; step < 3; ++step) {
      const auto a = kept.step({packing.rows, {}}, 1e-2);
      const auto b = recomputed.step({packing.rows, {}}, 1e-2);
      const auto c = in_parts.step({packing.rows, {}}, 1e-2);
      ASSERT_TRUE(a && b && c);
      EXPECT_EQ(a->loss, b->loss);
      EXPECT_EQ(a->gradient_norm, b->gradient_norm);
      const double allowed = compute == model::ComputeType::kFloat32 ? 1e-4 : 3e-2;
      EXPECT_NEAR(a->loss, c->loss, allowed * a->loss);
    }
    for (std::size_t i = 0; i < kept.optimiser().parameters().size(); ++i) {
      EXPECT_TRUE(torch::equal(kept.optimiser().parameters()[i].master.read(),
                               recomputed.optimiser().parameters()[i].master.read()));
    }
  }
}

}  // namespace
}  // namespace retort::train
