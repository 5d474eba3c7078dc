#include "model/layer_fit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <string>
#include <vector>

#include "base/progress.h"

namespace retort::model {
namespace {

using ::testing::HasSubstr;

DecoderConfig config_of(std::int64_t layers) {
  DecoderConfig config;
  config.layers = layers;
  config.hidden = 24;
  config.heads = 3;
  config.kv_heads = 1;
  config.head_dim = 8;
  config.intermediate = 20;
  config.vocabulary = 50;
  config.context = 64;
  for (std::int64_t layer = 0; layer < layers; ++layer) config.source_layers.push_back(layer);
  return config;
}

Decoder teacher_of(std::int64_t layers, ComputeType compute = ComputeType::kFloat32) {
  const DecoderConfig config = config_of(layers);
  torch::manual_seed(7);
  std::vector<NamedTensor> tensors;
  for (const auto& name : tensor_names(config)) {
    auto values = 0.3 * torch::randn(tensor_shape(config, name));
    if (name.ends_with("norm.weight")) values += 1;
    tensors.push_back({name, values});
  }
  auto decoder = Decoder::from_tensors(config, tensors, compute);
  RETORT_CHECK(decoder.has_value());
  return *decoder;
}

// 40 of up to 60 tokens: more than one stretch of what is computed together.
std::vector<MeasuredSequence> sequences_of(TokenId salt, std::size_t count = 60) {
  std::vector<MeasuredSequence> sequences;
  for (std::size_t i = 0; i < count; ++i) {
    MeasuredSequence sequence;
    const auto first = static_cast<TokenId>(i) + salt;
    for (TokenId j = 0; j < 40 + first % 20; ++j) sequence.ids.push_back((first * 13 + j * j * 7 + j * first) % 50);
    sequences.push_back(sequence);
  }
  return sequences;
}

torch::Tensor down_of(const Decoder& decoder, std::int64_t layer) {
  for (const auto& [name, tensor] : decoder.named_parameters()) {
    if (name == "blk." + std::to_string(layer) + ".ffn_down.weight") return tensor;
  }
  return {};
}

double kl_between(const Decoder& teacher, const Decoder& student, const std::vector<MeasuredSequence>& sequences) {
  double sum = 0;
  for (const auto& sequence : sequences) {
    const auto batch = single_document(sequence.ids);
    const auto p = teacher.logits(teacher.forward(batch).squeeze(0)).log_softmax(1);
    const auto q = student.logits(student.forward(batch).squeeze(0)).log_softmax(1);
    sum += (p.exp() * (p - q)).sum(1).mean().item<double>();
  }
  return sum / static_cast<double>(sequences.size());
}

const std::vector<std::int64_t> kKept = {0, 2, 4, 5};

TEST(LayerFit, BringsTheCutNearerToItsTeacherOnOtherText) {
  for (const ComputeType compute : {ComputeType::kFloat32, ComputeType::kBFloat16}) {
    const Decoder teacher = teacher_of(6, compute);
    const Decoder exact = teacher.clone(ComputeType::kFloat32);
    const Decoder cut = *exact.keep_layers(kKept);
    Decoder student = cut.clone(ComputeType::kFloat32);
    SilentProgress progress;
    const auto fit = fit_layers(teacher, student, sequences_of(0), {.max_tokens = 100000, .ridge = 0.01}, progress, {});
    ASSERT_TRUE(fit) << fit.error().message;
    EXPECT_GT(fit->tokens, 2500);
    ASSERT_EQ(fit->layers.size(), kKept.size());
    for (const FittedLayer& layer : fit->layers) {
      EXPECT_GT(layer.error_before, 0.01);
      EXPECT_LT(layer.error_after, layer.error_before);
    }
    const auto other_text = sequences_of(1000, 8);
    EXPECT_LT(kl_between(exact, student, other_text), 0.7 * kl_between(exact, cut, other_text));
  }
}

// The first layer before a gap, by least squares over the tokens themselves instead of normal equations.
void expect_least_squares(const std::vector<MeasuredSequence>& sequences) {
  const Decoder teacher = teacher_of(3);
  const std::vector<std::int64_t> kept = {0, 2};
  const Decoder cut = *teacher.keep_layers(kept);
  Decoder student = cut.clone(ComputeType::kFloat32);
  constexpr double kRidge = 0.2;
  SilentProgress progress;
  const auto fit = fit_layers(teacher, student, sequences, {.max_tokens = 100000, .ridge = kRidge}, progress, {});
  ASSERT_TRUE(fit) << fit.error().message;

  std::vector<torch::Tensor> rows, missing;
  double error = 0;
  for (const auto& sequence : sequences) {
    const auto batch = single_document(sequence.ids);
    torch::Tensor target, given, channels;
    teacher.forward(batch, [&](std::int64_t layer, const torch::Tensor& input, const torch::Tensor&) {
      if (layer == 2) target = input.to(torch::kFloat64);
    });
    cut.forward(batch, [&](std::int64_t layer, const torch::Tensor&, const torch::Tensor& output) {
      if (layer == 0) given = output.to(torch::kFloat64).clone();
    });
    cut.look_inside(batch, [&](std::int64_t layer, const torch::Tensor&, const torch::Tensor& activated) {
      if (layer == 0) channels = activated.to(torch::kFloat64).clone();
    });
    const torch::Tensor length = target.norm(2, {1}, true);
    rows.push_back(channels / length);
    missing.push_back((target - given) / length);
    error += missing.back().square().sum().item<double>();
  }
  const torch::Tensor weighted = torch::cat(rows);
  EXPECT_EQ(fit->tokens, weighted.size(0));
  EXPECT_NEAR(fit->layers[0].error_before, error / static_cast<double>(weighted.size(0)), 1e-5);
  const double ridge = kRidge * weighted.square().sum().item<double>() / 20;
  const torch::Tensor a = torch::cat({weighted, std::sqrt(ridge) * torch::eye(20, torch::kFloat64)});
  const torch::Tensor b = torch::cat({torch::cat(missing), torch::zeros({20, 24}, torch::kFloat64)});
  const torch::Tensor expected = std::get<0>(torch::linalg_lstsq(a, b)).t();
  const torch::Tensor added = (down_of(student, 0) - down_of(cut, 0)).to(torch::kFloat64);
  EXPECT_LT((added - expected).abs().max().item<double>(), 1e-4 * expected.abs().max().item<double>());
}

// Two stretches of text; and so many that their sums are settled in between and once more at the end.
TEST(LayerFit, IsTheLeastSquaresSolution) {
  expect_least_squares(sequences_of(3));
  expect_least_squares(sequences_of(3, 400));
}

TEST(LayerFit, IsPredictedByWhatTheMachineReaches) {
  const DecoderConfig teacher = config_of(6), student = config_of(4);
  const SystemClock clock;
  const LayerFitRates rates = measure_layer_fit(student, ComputeType::kFloat32, Backend::kKernels, clock);
  EXPECT_GT(rates.sums, 0);
  EXPECT_GT(rates.solving, 0);
  const double layer = 24 * 24 * 2 + 24 * 8 * 2 + 3 * 24 * 20;
  // Of each of four layers: its sums and what is applied, [20, 20 + 24 + 24]; its factor and two solutions.
  const double sums = 4 * 2 * 1000 * 20 * (20 + 48), solving = 4 * (20 * 20 * 20 / 3.0 + 2 * 20 * 20 * 24);
  EXPECT_DOUBLE_EQ(layer_fit_seconds(teacher, student, 1000, {10, 20, 40}),
                   2 * 1000 * 10 * layer / 10 + sums / 20 + solving / 40);
}

TEST(LayerFit, LeavesWhatIsExactAlone) {
  const Decoder teacher = teacher_of(4);
  Decoder whole = teacher.clone(ComputeType::kFloat32);
  SilentProgress progress;
  const auto fit = fit_layers(teacher, whole, sequences_of(0, 3), {}, progress, {});
  ASSERT_TRUE(fit) << fit.error().message;
  for (std::int64_t layer = 0; layer < 4; ++layer) {
    EXPECT_LT(fit->layers[static_cast<std::size_t>(layer)].error_before, 1e-6);
    EXPECT_TRUE(torch::equal(down_of(whole, layer), down_of(teacher, layer)));
  }
}

TEST(LayerFit, TakesNoMoreTextThanAskedFor) {
  const Decoder teacher = teacher_of(4);
  const std::vector<std::int64_t> kept = {0, 3};
  Decoder student = *teacher.keep_layers(kept);
  SilentProgress progress;
  const auto fit = fit_layers(teacher, student, sequences_of(0), {.max_tokens = 50}, progress, {});
  ASSERT_TRUE(fit) << fit.error().message;
  EXPECT_EQ(fit->tokens, 50);
}

TEST(LayerFit, RefusesWhatItCannotFit) {
  const Decoder teacher = teacher_of(4);
  SilentProgress progress;
  Decoder of_five = teacher_of(5);
  const auto no_cut = fit_layers(teacher, of_five, sequences_of(0), {}, progress, {});
  ASSERT_FALSE(no_cut);
  EXPECT_THAT(no_cut.error().message, HasSubstr("cut from a model"));
  const std::vector<std::int64_t> kept = {0, 3};
  Decoder student = *teacher.keep_layers(kept);
  EXPECT_FALSE(fit_layers(teacher, student, {}, {}, progress, {}));
  std::stop_source stop;
  stop.request_stop();
  const auto stopped = fit_layers(teacher, student, sequences_of(0), {}, progress, stop.get_token());
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().fault, Fault::kInterrupted);
}

}  // namespace
}  // namespace retort::model
