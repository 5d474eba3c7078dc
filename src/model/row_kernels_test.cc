#include "model/row_kernels.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <functional>
#include <type_traits>
#include <vector>

#include "base/random.h"
#include "model/row_kernel_table.h"

namespace retort::model {
namespace {

std::vector<float> draw(std::size_t count, std::uint64_t seed, double scale = 1) {
  Random random(seed);
  std::vector<float> values(count);
  for (auto& value : values) value = static_cast<float>(scale * random.normal());
  return values;
}

Bf16 to_bf16(float value) {
  const auto word = std::bit_cast<std::uint32_t>(value);
  return {static_cast<std::uint16_t>((word + 0x7FFFU + ((word >> 16U) & 1U)) >> 16U)};
}
float to_float(Bf16 value) { return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16U); }
std::vector<Bf16> to_bf16(const std::vector<float>& values) {
  std::vector<Bf16> result;
  for (const float value : values) result.push_back(to_bf16(value));
  return result;
}

// d sum(f(x) * weights) / dx[i] by central differences in FP64.
double slope(const std::function<std::vector<double>(const std::vector<double>&)>& f, std::vector<double> x,
             const std::vector<float>& weights, std::size_t i) {
  const double step = 1e-5;
  const auto value = [&](double moved) {
    const double kept = x[i];
    x[i] = moved;
    const auto y = f(x);
    x[i] = kept;
    double sum = 0;
    for (std::size_t j = 0; j < y.size(); ++j) sum += y[j] * static_cast<double>(weights[j]);
    return sum;
  };
  return (value(x[i] + step) - value(x[i] - step)) / (2 * step);
}

std::vector<double> norm_fp64(const std::vector<double>& x, const std::vector<float>& weight, double epsilon) {
  double squares = 0;
  for (const double value : x) squares += value * value;
  const double scale = 1 / std::sqrt(squares / static_cast<double>(x.size()) + epsilon);
  std::vector<double> y;
  for (std::size_t i = 0; i < x.size(); ++i) y.push_back(x[i] * scale * static_cast<double>(weight[i]));
  return y;
}

// 37: neither a multiple of 16 nor below it.
constexpr std::size_t kWidth = 37;

TEST(RowKernels, NormIsTheFormula) {
  const auto x = draw(3 * kWidth, 1, 3.0);
  const auto weight = draw(kWidth, 2);
  std::vector<float> y(3 * kWidth);
  std::vector<float> scales(3);
  rms_norm_rows(x.data(), weight.data(), y.data(), scales.data(), 3, kWidth, 1e-5F);
  for (std::size_t row = 0; row < 3; ++row) {
    const std::vector<double> in(x.begin() + row * kWidth, x.begin() + (row + 1) * kWidth);
    const auto expected = norm_fp64(in, weight, 1e-5);
    for (std::size_t i = 0; i < kWidth; ++i) EXPECT_NEAR(y[row * kWidth + i], expected[i], 2e-6);
  }
}

TEST(RowKernels, NormGradientIsTheSlope) {
  const auto x = draw(kWidth, 3, 2.0);
  const auto weight = draw(kWidth, 4);
  const auto incoming = draw(kWidth, 5);
  std::vector<float> y(kWidth);
  std::vector<float> scales(1);
  rms_norm_rows(x.data(), weight.data(), y.data(), scales.data(), 1, kWidth, 1e-5F);
  std::vector<float> x_gradient(kWidth, 0.25F);  // it adds
  std::vector<float> weight_gradient(kWidth, 0);
  rms_norm_rows_backward(x.data(), weight.data(), scales.data(), incoming.data(), x_gradient.data(),
                         weight_gradient.data(), 1, kWidth);
  const std::vector<double> in(x.begin(), x.end());
  for (std::size_t i = 0; i < kWidth; ++i) {
    EXPECT_NEAR(x_gradient[i] - 0.25, slope([&](const auto& v) { return norm_fp64(v, weight, 1e-5); }, in, incoming, i),
                3e-6);
    EXPECT_NEAR(weight_gradient[i], incoming[i] * x[i] * scales[0], 1e-6);
  }
}

TEST(RowKernels, RotationTurnsPairsAndBack) {
  constexpr std::int64_t kHeadDim = 6;
  const auto original = draw(2 * 20, 6);  // two rows of three heads and two values that stay
  const auto angles = draw(2 * 3, 7);
  std::vector<float> cosine;
  std::vector<float> sine;
  for (const float angle : angles) {
    cosine.push_back(std::cos(angle));
    sine.push_back(std::sin(angle));
  }
  auto x = original;
  rotate_rows(x.data(), 20, cosine.data(), sine.data(), 2, 3, kHeadDim, 1.0F);
  for (std::size_t row = 0; row < 2; ++row) {
    for (std::size_t head = 0; head < 3; ++head) {
      for (std::size_t i = 0; i < 3; ++i) {
        const std::size_t a = row * 20 + head * 6 + i;
        const float angle = angles[row * 3 + i];
        EXPECT_NEAR(x[a], original[a] * std::cos(angle) - original[a + 3] * std::sin(angle), 1e-6);
        EXPECT_NEAR(x[a + 3], original[a + 3] * std::cos(angle) + original[a] * std::sin(angle), 1e-6);
      }
    }
    EXPECT_EQ(x[row * 20 + 18], original[row * 20 + 18]);
  }
  rotate_rows(x.data(), 20, cosine.data(), sine.data(), 2, 3, kHeadDim, -1.0F);
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], original[i], 1e-6);
}

std::vector<double> swiglu_fp64(const std::vector<double>& gate_up) {
  std::vector<double> y;
  const std::size_t width = gate_up.size() / 2;
  for (std::size_t i = 0; i < width; ++i) {
    y.push_back(gate_up[i] / (1 + std::exp(-gate_up[i])) * gate_up[width + i]);
  }
  return y;
}

TEST(RowKernels, SwigluAndItsGradient) {
  auto gate_up = draw(2 * kWidth, 8, 4.0);
  gate_up[0] = 90;  // where exp ends
  gate_up[1] = -90;
  gate_up[2] = 0;
  const std::vector<double> in(gate_up.begin(), gate_up.end());
  std::vector<float> y(kWidth);
  swiglu_rows(gate_up.data(), y.data(), 1, kWidth);
  const auto expected = swiglu_fp64(in);
  for (std::size_t i = 0; i < kWidth; ++i) EXPECT_NEAR(y[i], expected[i], 1e-6 * (1 + std::fabs(expected[i])));

  const auto incoming = draw(kWidth, 9);
  auto gradient = gate_up;
  swiglu_rows_backward(gradient.data(), incoming.data(), 1, kWidth);
  for (std::size_t i = 0; i < 2 * kWidth; ++i) {
    const double wanted = slope(swiglu_fp64, in, incoming, i);
    EXPECT_NEAR(gradient[i], wanted, 1e-5 * (1 + std::fabs(wanted))) << i;
  }
}

// The BF16 forms compute what the FP32 forms compute from the same values, then round.
TEST(RowKernels, Bf16RoundsTheFp32Result) {
  const auto weight = draw(kWidth, 10);
  const auto x16 = to_bf16(draw(kWidth, 11, 2.0));
  std::vector<float> x;
  for (const auto value : x16) x.push_back(to_float(value));
  std::vector<float> y(kWidth);
  std::vector<Bf16> y16(kWidth);
  float scale = 0;
  float scale16 = 0;
  rms_norm_rows(x.data(), weight.data(), y.data(), &scale, 1, kWidth, 1e-5F);
  rms_norm_rows(x16.data(), weight.data(), y16.data(), &scale16, 1, kWidth, 1e-5F);
  EXPECT_EQ(scale, scale16);
  for (std::size_t i = 0; i < kWidth; ++i) EXPECT_NEAR(to_float(y16[i]), y[i], std::fabs(y[i]) * 0x1p-8);

  const auto gate_up16 = to_bf16(draw(2 * kWidth, 12, 3.0));
  std::vector<float> gate_up;
  for (const auto value : gate_up16) gate_up.push_back(to_float(value));
  swiglu_rows(gate_up.data(), y.data(), 1, kWidth);
  swiglu_rows(gate_up16.data(), y16.data(), 1, kWidth);
  for (std::size_t i = 0; i < kWidth; ++i) EXPECT_NEAR(to_float(y16[i]), y[i], std::fabs(y[i]) * 0x1p-8);
}

// Everything that a variant writes, one after the other.
template <class T>
std::vector<double> all_of(const RowKernelsOf<T>& kernels, const std::function<std::vector<T>(std::uint64_t)>& drawn,
                           std::int64_t width) {
  const auto n = static_cast<std::size_t>(width);
  const auto weight = draw(n, 21);
  std::vector<T> x = drawn(22), y(3 * n), y_gradient = drawn(23), gate_up = drawn(24);
  std::vector<float> scales(3), weight_gradient(n, 0.5F), sums(n, 0.25F);
  kernels.rms_norm(x.data(), weight.data(), y.data(), scales.data(), 3, width, 1e-5F);
  kernels.rms_norm_backward(x.data(), weight.data(), scales.data(), y_gradient.data(), gate_up.data(),
                            weight_gradient.data(), 3, width);
  kernels.add(x.data(), weight.data(), 3, width);
  kernels.sum(x.data(), sums.data(), 3, width);
  const auto angles = draw(3 * n, 25);
  kernels.rotate(y.data(), width, angles.data(), weight.data(), 1, 1, width - 1, -1);
  std::vector<T> pair = drawn(26), activated(n);
  kernels.swiglu(pair.data(), activated.data(), 1, width);
  kernels.swiglu_backward(pair.data(), y_gradient.data(), 1, width);
  std::vector<double> result;
  const auto take = [&](const auto& values) {
    for (const auto value : values) {
      if constexpr (std::is_same_v<T, std::uint16_t>) {
        if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::uint16_t>) {
          result.push_back(static_cast<double>(to_float(Bf16{value})));
          continue;
        }
      }
      result.push_back(static_cast<double>(value));
    }
  };
  take(x), take(y), take(gate_up), take(pair), take(activated), take(scales), take(weight_gradient), take(sums);
  return result;
}

// Every instruction set writes the same to rounding: the same to the bit but where products and sums are one operation.
TEST(RowKernels, AgreeOnEveryInstructionSet) {
  const RowKernelTable* variants[3] = {};
  const std::size_t count = row_kernel_variants(variants);
  for (const std::int64_t width : {5, 37, 64}) {
    const auto n = 3 * static_cast<std::size_t>(width);
    const auto floats = [&](std::uint64_t seed) { return draw(n, seed); };
    const auto halves = [&](std::uint64_t seed) {
      std::vector<std::uint16_t> bits;
      for (const Bf16 value : to_bf16(draw(n, seed))) bits.push_back(value.bits);
      return bits;
    };
    const auto f32 = all_of<float>(variants[0]->f32, floats, width);
    const auto bf16 = all_of<std::uint16_t>(variants[0]->bf16, halves, width);
    for (std::size_t variant = 1; variant < count; ++variant) {
      const auto f32_here = all_of<float>(variants[variant]->f32, floats, width);
      const auto bf16_here = all_of<std::uint16_t>(variants[variant]->bf16, halves, width);
      for (std::size_t i = 0; i < f32.size(); ++i) {
        ASSERT_NEAR(f32_here[i], f32[i], 3e-6 * (1 + std::fabs(f32[i]))) << variants[variant]->name << " " << i;
        ASSERT_NEAR(bf16_here[i], bf16[i], 0x1p-7 * (0.01 + std::fabs(bf16[i]))) << variants[variant]->name << " " << i;
      }
    }
  }
}

}  // namespace
}  // namespace retort::model
