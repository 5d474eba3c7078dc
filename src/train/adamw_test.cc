#include "train/adamw.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <limits>

namespace retort::train {
namespace {

// The published algorithm, in double precision and one number at a time.
struct PlainAdamW {
  std::vector<double> w, m, v;
  int t = 0;
  void step(const std::vector<double>& g, double rate, double decay, const AdamWOptions& o, double scale) {
    ++t;
    for (std::size_t i = 0; i < w.size(); ++i) {
      const double gradient = g[i] * scale;
      m[i] = o.beta1 * m[i] + (1 - o.beta1) * gradient;
      v[i] = o.beta2 * v[i] + (1 - o.beta2) * gradient * gradient;
      const double mh = m[i] / (1 - std::pow(o.beta1, t));
      const double vh = v[i] / (1 - std::pow(o.beta2, t));
      w[i] -= rate * (mh / (std::sqrt(vh) + o.epsilon) + decay * w[i]);
    }
  }
};

std::vector<double> numbers(const torch::Tensor& tensor) {
  const auto flat = tensor.to(torch::kDouble).contiguous().flatten();
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

void compare(torch::ScalarType type) {
  torch::manual_seed(3);
  AdamWOptions options;
  options.weight_decay = 0.1;
  options.clip_norm = 2.0;
  AdamW optimiser(options);
  const auto matrix_master = torch::randn({37, 5});
  const auto norm_master = torch::randn({19});
  auto matrix = matrix_master.to(type).contiguous();
  auto norm = norm_master.clone();
  optimiser.add("blk.0.ffn_up.weight", matrix, matrix_master);
  optimiser.add("blk.0.ffn_norm.weight", norm, norm_master);
  PlainAdamW plain_matrix{numbers(matrix_master), std::vector<double>(185), std::vector<double>(185)};
  PlainAdamW plain_norm{numbers(norm_master), std::vector<double>(19), std::vector<double>(19)};
  for (int step = 0; step < 20; ++step) {
    // Two micro-batches; in BF16 each is rounded, their sum is not.
    const double size = step % 2 == 0 ? 5.0 : 0.01;  // clipped and not
    const auto first = (torch::randn({37, 5}) * size).to(type);
    const auto second = (torch::randn({37, 5}) * size).to(type);
    const auto vector = torch::randn({19}) * size;
    optimiser.zero_gradients();
    optimiser.accumulate(0, first);
    optimiser.accumulate(0, second);
    optimiser.accumulate(1, vector);
    const auto matrix_gradient = numbers(first.to(torch::kDouble) + second.to(torch::kDouble));
    const auto norm_gradient = numbers(vector);
    double sum = 0;
    for (const double g : matrix_gradient) sum += g * g;
    for (const double g : norm_gradient) sum += g * g;
    const double scale = std::sqrt(sum) > 2.0 ? 2.0 / std::sqrt(sum) : 1.0;
    EXPECT_NEAR(optimiser.step(0.01), std::sqrt(sum), 1e-4 * std::sqrt(sum));
    plain_matrix.step(matrix_gradient, 0.01, 0.1, options, scale);
    plain_norm.step(norm_gradient, 0.01, 0, options, scale);
  }
  const auto& parameters = optimiser.parameters();
  const auto w = numbers(parameters[0].master.read());
  for (std::size_t i = 0; i < w.size(); ++i) ASSERT_NEAR(w[i], plain_matrix.w[i], 2e-5) << i;
  const auto n = numbers(parameters[1].master.read());
  for (std::size_t i = 0; i < n.size(); ++i) ASSERT_NEAR(n[i], plain_norm.w[i], 2e-5) << i;
  // The copy that is computed with was written in place, rounded to nearest.
  EXPECT_TRUE(torch::equal(matrix, parameters[0].master.read().to(type)));
  EXPECT_TRUE(torch::equal(norm, parameters[1].master.read()));
}

TEST(AdamW, EqualsThePlainAlgorithmInFp32) { compare(torch::kFloat); }
TEST(AdamW, EqualsThePlainAlgorithmWithBf16Copies) { compare(torch::kBFloat16); }

// In the copy and what it lacks, or (on a device) in its own memory.
TEST(AdamW, TakesOverTheMasterItIsGiven) {
  for (const auto backend : {model::Backend::kKernels, model::Backend::kTensors}) {
    AdamWOptions options;
    options.backend = backend;
    AdamW optimiser(options);
    const auto master = torch::randn({3, 4});
    const auto compute = master.to(torch::kBFloat16);
    optimiser.add("w", compute, master);
    const AdamWParameter& parameter = optimiser.parameters()[0];
    EXPECT_TRUE(torch::equal(parameter.master.read(), master));
    if (backend == model::Backend::kTensors) {
      EXPECT_EQ(parameter.master.whole.const_data_ptr(), master.const_data_ptr());
      continue;
    }
    EXPECT_EQ(parameter.master.upper.const_data_ptr(), compute.const_data_ptr());
    // Beside the copy: what it lacks; with the first step the moments, a gradient in BF16, and a sum where there are
    // two.
    EXPECT_EQ(optimiser.bytes(), 12 * 2);
    optimiser.accumulate(0, torch::ones({3, 4}, torch::kBFloat16));
    optimiser.step(0.1);
    EXPECT_EQ(optimiser.bytes(), 12 * (2 + 4 + 4 + 2));
    optimiser.accumulate(0, torch::ones({3, 4}, torch::kBFloat16));
    EXPECT_EQ(optimiser.bytes(), 12 * (2 + 4 + 4 + 4));
    optimiser.forget_gradients();
    EXPECT_EQ(optimiser.bytes(), 12 * (2 + 4 + 4));
  }
}

// A gradient that stays in BF16 moves the weights as its FP32 copy does, to the bit; with either state.
TEST(AdamW, ASingleGradientInBf16IsItsFp32Copy) {
  for (const int bits : {32, 8}) {
    torch::manual_seed(9);
    AdamWOptions options;
    options.bits = bits;
    options.clip_norm = 1;
    AdamW kept(options), widened(options);
    const auto master = torch::randn({70, 1009});  // more than a block of the sums, and no whole vectors
    auto a = master.to(torch::kBFloat16), b = a.clone();
    kept.add("w", a, master);
    widened.add("w", b, master);
    for (int step = 0; step < 3; ++step) {
      const auto gradient = torch::randn({70, 1009}).to(torch::kBFloat16);
      kept.zero_gradients();
      kept.accumulate(0, gradient.clone());
      EXPECT_EQ(kept.parameters()[0].gradient.scalar_type(), torch::kBFloat16);
      widened.zero_gradients();
      widened.accumulate(0, gradient.to(torch::kFloat));
      EXPECT_EQ(kept.step(0.01), widened.step(0.01));
      EXPECT_TRUE(torch::equal(a, b));
    }
    EXPECT_TRUE(torch::equal(kept.parameters()[0].master.read(), widened.parameters()[0].master.read()));
    kept.settle_gradients();
    EXPECT_TRUE(torch::equal(kept.parameters()[0].gradient, widened.parameters()[0].gradient));
  }
}

TEST(AdamW, RatesScaleTheStepAndZeroFreezes) {
  AdamW optimiser({});
  auto full = torch::ones({2, 2});
  auto tenth = torch::ones({2, 2});
  auto frozen = torch::ones({2, 2});
  optimiser.add("full", full);
  optimiser.add("tenth", tenth, {}, 0.1);
  optimiser.add("frozen", frozen, {}, 0);
  for (const std::size_t index : {0U, 1U}) optimiser.accumulate(index, torch::full({2, 2}, 0.5F));
  optimiser.step(0.01);
  EXPECT_LT(full[0][0].item<float>(), 1);
  EXPECT_NEAR((1 - tenth).sum().item<float>(), 0.1F * (1 - full).sum().item<float>(), 1e-6);
  EXPECT_TRUE(torch::equal(frozen, torch::ones({2, 2})));
  EXPECT_FALSE(optimiser.parameters()[2].gradient.defined());
}

TEST(AdamW, LeavesEverythingAloneWhenTheGradientIsNotFinite) {
  AdamW optimiser({});
  auto weight = torch::ones({2, 2});
  optimiser.add("w", weight);
  optimiser.accumulate(0, torch::full({2, 2}, std::numeric_limits<float>::quiet_NaN()));
  EXPECT_FALSE(std::isfinite(optimiser.step(0.1)));
  EXPECT_TRUE(torch::equal(weight, torch::ones({2, 2})));
  EXPECT_EQ(optimiser.steps_done(), 0);
}

// A quadratic valley of many scales with noisy gradients, descended with either state: eight bits get as far.
// On a GPU the codes are libtorch's work: the same, step after step.
TEST(AdamW, EightBitsByTensorsAreThoseOfTheKernels) {
  for (const auto type : {torch::kFloat, torch::kBFloat16}) {
    AdamWOptions options;
    options.bits = 8;
    options.weight_decay = 0.01;
    options.clip_norm = 1;
    AdamW kernels(options);
    options.backend = model::Backend::kTensors;
    AdamW tensors(options);
    torch::manual_seed(6);
    const auto start = torch::randn({37, 70}).to(type);
    const auto by_kernels = start.clone(), by_tensors = start.clone();
    kernels.add("w", by_kernels);
    tensors.add("w", by_tensors);
    for (int step = 0; step < 30; ++step) {
      // Of very different sizes; a block of zeros; a column that nothing reaches.
      auto gradient = torch::randn({37, 70}) * torch::pow(10.0, -6 * torch::rand({37, 70}));
      gradient.flatten().narrow(0, 512, 256).zero_();
      gradient.select(1, 3).zero_();
      for (AdamW* optimiser : {&kernels, &tensors}) {
        optimiser->zero_gradients();
        optimiser->accumulate(0, gradient);
        optimiser->step(0.01);
      }
      const AdamWParameter& a = kernels.parameters()[0];
      const AdamWParameter& b = tensors.parameters()[0];
      for (const auto& [of_kernels, of_tensors] : {std::pair{&a.m, &b.m}, std::pair{&a.v, &b.v}}) {
        EXPECT_TRUE(torch::allclose(of_kernels->scales, of_tensors->scales, 1e-5));
        // A value on the border between two codes may be rounded to either.
        const auto apart = (of_kernels->values.to(torch::kInt) - of_tensors->values.to(torch::kInt)).abs();
        EXPECT_LT(apart.gt(0).sum().item<double>(), 0.01 * 37 * 70) << step;
      }
    }
    EXPECT_LT((by_kernels - by_tensors).abs().max().item<double>(), type == torch::kFloat ? 2e-3 : 2e-2);
  }
}

TEST(AdamW, EightBitsLearnAsFarAs32) {
  double losses[2] = {};
  for (const int bits : {32, 8}) {
    torch::manual_seed(5);
    AdamWOptions options;
    options.bits = bits;
    AdamW optimiser(options);
    const auto target = torch::randn({40, 65});
    const auto curvature = torch::pow(10.0, -3 * torch::rand({40, 65}));
    auto weight = torch::zeros({40, 65});
    auto norm = torch::zeros({65});
    optimiser.add("w", weight);
    optimiser.add("norm", norm);
    const auto loss = [&] { return (curvature * (weight - target).pow(2)).sum().item<double>(); };
    const double before = loss();
    for (int step = 0; step < 400; ++step) {
      optimiser.zero_gradients();
      optimiser.accumulate(0, 2 * curvature * (weight - target + 0.1 * torch::randn({40, 65})));
      optimiser.accumulate(1, torch::randn({65}));
      optimiser.step(0.02 * (1 - step / 400.0));
    }
    losses[bits == 8] = loss() / before;
    const AdamWParameter& matrix = optimiser.parameters()[0];
    EXPECT_EQ(matrix.m.values.scalar_type(), bits == 8 ? torch::kByte : torch::kFloat);
    EXPECT_EQ(optimiser.parameters()[1].m.values.scalar_type(), torch::kFloat);  // vectors keep 32 bits
    if (bits == 8) {
      EXPECT_EQ(matrix.m.scales.numel(), (40 * 65 + 255) / 256);
      EXPECT_LT(matrix.m.values.nbytes() + matrix.m.scales.nbytes(), 0.27 * 4 * 40 * 65);
    }
  }
  EXPECT_LT(losses[0], 0.01);
  EXPECT_NEAR(losses[1], losses[0], 0.05 * losses[0]);
}

}  // namespace
}  // namespace retort::train
