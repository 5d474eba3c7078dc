#include "model/attention_kernels.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "base/random.h"

namespace retort::model {
namespace {

struct Case {
  std::size_t length, heads, head_dim, window;
};
// Below, at and beyond a vector, a tile and a block of rows.
const Case kCases[] = {{1, 1, 4, 0}, {5, 2, 6, 0},  {16, 3, 16, 0},  {33, 1, 24, 0}, {70, 3, 64, 0},  {37, 2, 128, 0},
                       {5, 2, 6, 1}, {37, 2, 8, 5}, {70, 1, 16, 17}, {90, 2, 8, 33}, {40, 1, 16, 40}, {40, 1, 16, 100}};

template <class T>
std::vector<T> draw(std::size_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<T> values(count);
  for (auto& value : values) {
    const auto drawn = static_cast<float>(random.normal());
    if constexpr (sizeof(T) == 2) {
      value.bits = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(drawn) >> 16U);
    } else {
      value = drawn;
    }
  }
  return values;
}
double number(float value) { return static_cast<double>(value); }
double number(Bf16 value) {
  return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16U));
}

// One unit whose rows are query heads, key, value, with room between rows, as in a packed buffer.
template <class T>
struct Unit {
  AttentionUnit shape;
  std::vector<T> rows, attended, incoming;
  std::vector<float> log_sums;

  Unit(const Case& c, std::uint64_t seed) {
    shape.length = c.length;
    shape.heads = c.heads;
    shape.head_dim = c.head_dim;
    shape.window = c.window;
    shape.stride = (c.heads + 2) * c.head_dim + 3;
    shape.attended_stride = c.heads * c.head_dim + 1;
    shape.log_sum_stride = c.length + 2;
    shape.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(c.head_dim)));
    rows = draw<T>(c.length * shape.stride, seed);
    attended = draw<T>(c.length * shape.attended_stride, seed + 1);
    incoming = draw<T>(c.length * shape.attended_stride, seed + 2);
    log_sums.assign(c.heads * shape.log_sum_stride, -7);
  }
  std::size_t query(std::size_t row, std::size_t head) const { return row * shape.stride + head * shape.head_dim; }
  std::size_t key(std::size_t row) const { return query(row, shape.heads); }
  std::size_t value(std::size_t row) const { return query(row, shape.heads + 1); }
  std::size_t output(std::size_t row, std::size_t head) const {
    return row * shape.attended_stride + head * shape.head_dim;
  }

  void forward(const AttentionKernels& kernels) {
    std::vector<float> scratch(attention_scratch(shape.length, shape.head_dim, false));
    const AttentionForward<T> given = {rows.data(), rows.data() + key(0), rows.data() + value(0), attended.data(),
                                       log_sums.data()};
    if constexpr (sizeof(T) == 2) {
      kernels.forward_bf16(shape, given, scratch.data());
    } else {
      kernels.forward_f32(shape, given, scratch.data());
    }
  }
  std::vector<T> backward(const AttentionKernels& kernels) {
    std::vector<float> scratch(attention_scratch(shape.length, shape.head_dim, true));
    std::vector<T> gradient = rows;  // what lies between the rows must stay
    const AttentionBackward<T> given = {rows.data(),     rows.data() + key(0),     rows.data() + value(0),
                                        attended.data(), incoming.data(),          log_sums.data(),
                                        gradient.data(), gradient.data() + key(0), gradient.data() + value(0)};
    if constexpr (sizeof(T) == 2) {
      kernels.backward_bf16(shape, given, scratch.data());
    } else {
      kernels.backward_f32(shape, given, scratch.data());
    }
    return gradient;
  }

  // In FP64 by the formula; `in` stands for the rows.
  std::vector<double> attended_fp64(const std::vector<double>& in) const {
    std::vector<double> out(shape.length * shape.attended_stride, 0);
    for (std::size_t head = 0; head < shape.heads; ++head) {
      for (std::size_t row = 0; row < shape.length; ++row) {
        std::vector<double> p(row + 1, 0);
        double sum = 0;
        for (std::size_t other = 0; other <= row; ++other) {
          if (shape.window > 0 && row - other >= shape.window) continue;
          double dot = 0;
          for (std::size_t i = 0; i < shape.head_dim; ++i) dot += in[query(row, head) + i] * in[key(other) + i];
          p[other] = std::exp(dot * static_cast<double>(shape.scale));
          sum += p[other];
        }
        for (std::size_t other = 0; other <= row; ++other) {
          for (std::size_t i = 0; i < shape.head_dim; ++i) {
            out[output(row, head) + i] += p[other] / sum * in[value(other) + i];
          }
        }
      }
    }
    return out;
  }
  std::vector<double> rows_fp64() const {
    std::vector<double> result;
    for (const T value : rows) result.push_back(number(value));
    return result;
  }
};

template <class F>
void with_every_variant(const F& f) {
  const AttentionKernels* variants[kMostAttentionKernels] = {};
  const std::size_t count = attention_kernel_variants(variants);
  for (std::size_t i = 0; i < count; ++i) {
    for (const Case& c : kCases) {
      const ::testing::ScopedTrace trace(__FILE__, __LINE__,
                                         std::string(variants[i]->name) + ", " + std::to_string(c.length) +
                                             " tokens, " + std::to_string(c.heads) + " heads of " +
                                             std::to_string(c.head_dim) + ", window " + std::to_string(c.window));
      f(*variants[i], c);
    }
  }
}

TEST(AttentionKernels, ForwardIsTheFormula) {
  with_every_variant([](const AttentionKernels& kernels, const Case& c) {
    Unit<float> unit(c, 1);
    const std::vector<float> before = unit.attended;
    unit.forward(kernels);
    const auto expected = unit.attended_fp64(unit.rows_fp64());
    for (std::size_t row = 0; row < c.length; ++row) {
      for (std::size_t i = 0; i < c.heads * c.head_dim; ++i) {
        ASSERT_NEAR(unit.attended[row * unit.shape.attended_stride + i], expected[row * unit.shape.attended_stride + i],
                    3e-6);
      }
      const std::size_t between = row * unit.shape.attended_stride + c.heads * c.head_dim;
      ASSERT_EQ(unit.attended[between], before[between]);
    }
    for (std::size_t head = 0; head < c.heads; ++head) {
      for (std::size_t i = c.length; i < unit.shape.log_sum_stride; ++i) {
        ASSERT_EQ(unit.log_sums[head * unit.shape.log_sum_stride + i], -7);
      }
    }
  });
}

// Large scores: nothing overflows, and the largest takes all.
TEST(AttentionKernels, LargeScoresDoNotOverflow) {
  with_every_variant([](const AttentionKernels& kernels, const Case& c) {
    Unit<float> unit(c, 4);
    for (float& value : unit.rows) value *= 60;
    unit.forward(kernels);
    const auto gradient = unit.backward(kernels);
    for (const float value : gradient) ASSERT_TRUE(std::isfinite(value));
    // exp() of FP64 holds no such scores either: the first row, which sees itself alone, must be its value.
    for (std::size_t i = 0; i < c.head_dim; ++i) ASSERT_FLOAT_EQ(unit.attended[i], unit.rows[unit.value(0) + i]);
  });
}

TEST(AttentionKernels, GradientIsTheSlope) {
  with_every_variant([](const AttentionKernels& kernels, const Case& c) {
    Unit<float> unit(c, 7);
    unit.forward(kernels);
    const auto gradient = unit.backward(kernels);
    const auto loss = [&](const std::vector<double>& in) {
      const auto out = unit.attended_fp64(in);
      double sum = 0;
      for (std::size_t row = 0; row < c.length; ++row) {
        for (std::size_t i = 0; i < c.heads * c.head_dim; ++i) {
          const std::size_t at = row * unit.shape.attended_stride + i;
          sum += out[at] * number(unit.incoming[at]);
        }
      }
      return sum;
    };
    auto in = unit.rows_fp64();
    Random random(9);
    const std::size_t width = (c.heads + 2) * c.head_dim;
    for (int trial = 0; trial < 12; ++trial) {
      const std::size_t at = random.below(c.length) * unit.shape.stride + random.below(width);
      const double kept = in[at];
      const double step = 1e-5;
      in[at] = kept + step;
      const double above = loss(in);
      in[at] = kept - step;
      const double below = loss(in);
      in[at] = kept;
      const double slope = (above - below) / (2 * step);
      ASSERT_NEAR(gradient[at], slope, 2e-5 * (1 + std::fabs(slope))) << at;
    }
    for (std::size_t row = 0; row < c.length; ++row) {
      const std::size_t between = row * unit.shape.stride + width;
      ASSERT_EQ(gradient[between], unit.rows[between]);
    }
  });
}

// BF16 rows give what the FP32 kernel gives for the same values, then rounded. With AMX what is no BF16 number counts
// 16 bits, which shows in sums that are small beside what they are made of.
TEST(AttentionKernels, Bf16RoundsTheFp32Result) {
  with_every_variant([](const AttentionKernels& kernels, const Case& c) {
    const double unseen = std::string(kernels.name) == "amx" ? 0x1p-15 : 0;
    Unit<Bf16> half(c, 11);
    Unit<float> whole(c, 11);
    const auto widen = [](const std::vector<Bf16>& from, std::vector<float>& to) {
      for (std::size_t i = 0; i < from.size(); ++i) to[i] = static_cast<float>(number(from[i]));
    };
    widen(half.rows, whole.rows);
    widen(half.incoming, whole.incoming);
    half.forward(kernels);
    whole.forward(kernels);
    for (std::size_t row = 0; row < c.length; ++row) {
      for (std::size_t i = 0; i < c.heads * c.head_dim; ++i) {
        const std::size_t at = row * whole.shape.attended_stride + i;
        ASSERT_NEAR(number(half.attended[at]), whole.attended[at], std::fabs(whole.attended[at]) * 0x1p-8 + unseen);
      }
    }
    widen(half.attended, whole.attended);
    const auto gradient16 = half.backward(kernels);
    const auto gradient = whole.backward(kernels);
    for (std::size_t row = 0; row < c.length; ++row) {
      for (std::size_t i = 0; i < (c.heads + 2) * c.head_dim; ++i) {
        const std::size_t at = row * whole.shape.stride + i;
        ASSERT_NEAR(number(gradient16[at]), gradient[at], std::fabs(gradient[at]) * 0x1p-8 + unseen);
      }
    }
  });
}

}  // namespace
}  // namespace retort::model
