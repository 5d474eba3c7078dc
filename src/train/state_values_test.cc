#include "train/state_values.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "base/random.h"
#include "train/kernels.h"

namespace retort::train {
namespace {

// Every kind of number, and each place between two BF16 numbers that rounds otherwise.
std::vector<float> all_kinds() {
  std::vector<float> values = {0.0F,
                               -0.0F,
                               1.0F,
                               std::numeric_limits<float>::max(),
                               -std::numeric_limits<float>::max(),
                               std::numeric_limits<float>::min(),
                               std::numeric_limits<float>::denorm_min(),
                               -std::numeric_limits<float>::denorm_min(),
                               std::numeric_limits<float>::infinity(),
                               -std::numeric_limits<float>::infinity()};
  for (const std::uint32_t upper : {0x3F80U, 0x3F81U, 0xBF80U, 0xBF81U, 0x0000U, 0x8000U, 0x7F7FU, 0x0080U}) {
    for (const std::uint32_t lower : {0x0000U, 0x0001U, 0x7FFFU, 0x8000U, 0x8001U, 0xFFFFU}) {
      values.push_back(std::bit_cast<float>(upper << 16 | lower));
    }
  }
  Random random(3);
  for (int i = 0; i < 10'000; ++i) {
    const float value = std::bit_cast<float>(static_cast<std::uint32_t>(random.uniform() * 4294967296.0));
    if (!std::isnan(value)) values.push_back(value);
  }
  return values;
}

TEST(Halves, GiveBackEveryBit) {
  const std::vector<float> values = all_kinds();
  const Kernels* variants[3] = {};
  const std::size_t count = kernel_variants(variants);
  for (std::size_t variant = 0; variant < count; ++variant) {
    for (const std::size_t n : {values.size(), std::size_t{16}, std::size_t{7}, std::size_t{0}}) {
      std::vector<Bf16> upper(n + 1, 7);
      std::vector<std::int16_t> lower(n + 1, 7);
      std::vector<float> back(n + 1, 7);
      variants[variant]->split(values.data(), upper.data(), lower.data(), n);
      variants[variant]->join(upper.data(), lower.data(), back.data(), n);
      for (std::size_t i = 0; i < n; ++i) {
        ASSERT_EQ(std::bit_cast<std::uint32_t>(back[i]), std::bit_cast<std::uint32_t>(values[i])) << values[i];
        // The nearest there is.
        const float computed_with = std::bit_cast<float>(static_cast<std::uint32_t>(upper[i]) << 16);
        if (!std::isfinite(computed_with)) continue;
        const float next = std::nextafter(std::fabs(values[i]), std::numeric_limits<float>::infinity());
        const double step = std::ldexp(1.0, std::max(std::ilogb(next), -126) - 7);
        ASSERT_LE(std::fabs(static_cast<double>(computed_with) - static_cast<double>(values[i])), step / 2)
            << values[i];
      }
      EXPECT_EQ(upper[n], 7);  // nothing behind the end
      EXPECT_EQ(lower[n], 7);
      EXPECT_EQ(back[n], 7);
    }
  }
}

// Steps with halves are those with whole weights, to the bit.
TEST(Halves, AreUpdatedAsWholeWeightsAre) {
  torch::manual_seed(9);
  const Kernels* variants[3] = {};
  const std::size_t count = kernel_variants(variants);
  const std::int64_t n = 1003;
  for (std::size_t variant = 0; variant < count; ++variant) {
    const torch::Tensor whole = torch::randn({n});
    const torch::Tensor compute = torch::empty({n}, torch::kBFloat16);
    const StateValues halves = in_halves(compute, whole);
    torch::Tensor m = torch::zeros({n}), v = torch::zeros({n}), m2 = torch::zeros({n}), v2 = torch::zeros({n});
    AdamStep step;
    step.learning_rate = 1e-4F;
    step.weight_decay = 0.1F;
    for (int i = 0; i < 20; ++i) {
      const torch::Tensor gradient = torch::randn({n});
      variants[variant]->adamw({whole.data_ptr<float>(), nullptr, nullptr}, m.data_ptr<float>(), v.data_ptr<float>(),
                               {gradient.data_ptr<float>(), nullptr}, static_cast<std::size_t>(n), step);
      variants[variant]->adamw(
          {nullptr, static_cast<Bf16*>(halves.upper.data_ptr()), halves.lower.data_ptr<std::int16_t>()},
          m2.data_ptr<float>(), v2.data_ptr<float>(), {gradient.data_ptr<float>(), nullptr},
          static_cast<std::size_t>(n), step);
    }
    EXPECT_TRUE(torch::equal(halves.read(), whole)) << variants[variant]->name;
    EXPECT_TRUE(torch::equal(m, m2) && torch::equal(v, v2));
    EXPECT_TRUE(torch::equal(compute, halves.upper));
  }
}

TEST(StateValues, PartsShareTheMemoryOfTheWhole) {
  const torch::Tensor compute = torch::zeros({4, 5}, torch::kBFloat16);
  const StateValues halves = in_halves(compute, torch::full({4, 5}, 1.0F / 3));
  EXPECT_EQ(halves.type(), torch::kFloat);
  const StateValues part = halves.part(6, 3);
  part.write(torch::full({3}, 2.0F / 3));
  EXPECT_EQ(halves.read()[1][1].item<float>(), 2.0F / 3);
  EXPECT_EQ(halves.read()[1][4].item<float>(), 1.0F / 3);
  EXPECT_EQ(compute[1][3].item<float>(), torch::tensor(2.0F / 3).to(torch::kBFloat16).item<float>());
  const StateValues whole{torch::zeros({4, 5}), {}, {}};
  whole.part(6, 3).write(torch::ones({3}));
  EXPECT_EQ(whole.read().sum().item<float>(), 3);
}

}  // namespace
}  // namespace retort::train
