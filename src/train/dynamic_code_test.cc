#include "train/dynamic_code.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/random.h"
#include "train/kernels.h"

namespace retort::train {
namespace {

// The nearest value of a code, found by looking at all of them.
float nearest(const DynamicCode& code, float value) {
  float best = code.has_sign ? 0.0F : code.value[value > 0 ? 1 : 0];
  for (const float candidate : code.value) {
    if (!code.has_sign && value > 0 && candidate == 0) continue;
    if (std::abs(candidate - value) < std::abs(best - value)) best = candidate;
  }
  return best;
}

// With beta1 = beta2 = 0 the moments become the gradient and its square, so that the kernel shows its quantiser.
struct Written {
  std::vector<float> m, v;
};
Written write_and_read(const Kernels& kernels, const std::vector<float>& gradient) {
  const std::size_t n = gradient.size();
  const std::size_t blocks = (n + 255) / 256;
  std::vector<float> weights(n);
  std::vector<float> m_scales(blocks);
  std::vector<float> v_scales(blocks);
  std::vector<std::uint8_t> m(n);
  std::vector<std::uint8_t> v(n);
  AdamStep step;
  step.beta1 = 0;
  step.beta2 = 0;
  kernels.adamw_8_bit({weights.data(), nullptr, nullptr},
                      {m.data(), m_scales.data(), v.data(), v_scales.data(), &signed_code(), &unsigned_code()},
                      {gradient.data(), nullptr}, n, step);
  Written written;
  for (std::size_t i = 0; i < n; ++i) {
    written.m.push_back(signed_code().value[m[i]] * m_scales[i / 256]);
    written.v.push_back(unsigned_code().value[v[i]] * v_scales[i / 256]);
  }
  return written;
}

TEST(DynamicCode, IsAscendingAndEndsAtOne) {
  for (const DynamicCode* code : {&signed_code(), &unsigned_code()}) {
    const int count = code->has_sign ? 128 : 256;
    EXPECT_EQ(code->value[0], 0);
    for (int c = 1; c < count; ++c) EXPECT_GT(code->value[c], code->value[c - 1]);
    EXPECT_EQ(code->value[count - 1], 1);
  }
  EXPECT_FLOAT_EQ(signed_code().value[1], 1e-6F);
  EXPECT_FLOAT_EQ(unsigned_code().value[1], 1e-7F);
  EXPECT_EQ(signed_code().value[255], -1);
}

// Over the whole range, blocks of all sizes: every kernel gives the nearest code, and the promised error holds.
TEST(DynamicCode, GivesTheNearestValue) {
  Random random(7);
  std::vector<float> gradient(256 * 40 + 77);
  for (float& value : gradient) {
    value = static_cast<float>((random.uniform() < 0.5 ? -1 : 1) * std::pow(10.0, -8.0 * random.uniform()) * 3e-4);
  }
  gradient[5] = 0;
  std::fill(gradient.begin() + 512, gradient.begin() + 768, 0.0F);  // a block of zeros
  const Kernels* variants[3] = {};
  const std::size_t count = kernel_variants(variants);
  for (std::size_t variant = 0; variant < count; ++variant) {
    const Written written = write_and_read(*variants[variant], gradient);
    for (std::size_t begin = 0; begin < gradient.size(); begin += 256) {
      const std::size_t end = std::min(begin + 256, gradient.size());
      float largest = 0;
      for (std::size_t i = begin; i < end; ++i) largest = std::max(largest, std::abs(gradient[i]));
      for (std::size_t i = begin; i < end; ++i) {
        const float square = gradient[i] * gradient[i];
        if (largest == 0) {
          EXPECT_EQ(written.m[i], 0);
          EXPECT_EQ(written.v[i], 0);
          continue;
        }
        // By rounding of the division a value beside a border may get either neighbour: as near, to 1e-6.
        const float scale2 = largest * largest;
        ASSERT_NEAR(std::abs(written.m[i] - gradient[i]),
                    std::abs(nearest(signed_code(), gradient[i] / largest) * largest - gradient[i]), 1e-6F * largest);
        ASSERT_NEAR(std::abs(written.v[i] - square),
                    std::abs(nearest(unsigned_code(), square / scale2) * scale2 - square), 1e-6F * scale2);
        ASSERT_LE(std::abs(written.m[i] - gradient[i]), 0.0071F * largest);
        ASSERT_LE(std::abs(written.v[i] - square), 0.0036F * scale2);
        // Small values too: within a decade the error is a share of the decade.
        if (std::abs(gradient[i]) > 1e-4F * largest) {
          ASSERT_NEAR(written.m[i], gradient[i], 0.6F * std::abs(gradient[i]));
        }
        ASSERT_EQ(written.v[i] == 0, square == 0) << i;
      }
    }
  }
}

}  // namespace
}  // namespace retort::train
