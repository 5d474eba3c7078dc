#include "train/dynamic_code.h"

#include <bit>
#include <cmath>

namespace retort::train {
namespace {

DynamicCode make_code(bool has_sign) {
  DynamicCode code{};
  code.has_sign = has_sign;
  code.least = has_sign ? 0 : 1;
  const int bits = has_sign ? 7 : 8;
  const int count = 1 << bits;
  for (int c = 1; c < count; ++c) {
    const int fraction_bits = std::bit_width(static_cast<unsigned>(c)) - 1;
    const int zeros = bits - 1 - fraction_bits;
    const double k = c - (1 << fraction_bits);
    code.value[c] = static_cast<float>(std::pow(10.0, -zeros) * (0.1 + 0.9 * (k + 1) / (1 << fraction_bits)));
    if (has_sign) code.value[c + 128] = -code.value[c];
  }
  for (int c = 0; c < count; ++c) {
    code.border[c] = c + 1 < count ? (code.value[c] + code.value[c + 1]) / 2 : 2.0F;
  }
  for (std::size_t step = 0; step < sizeof(code.first); ++step) {
    // The magnitude at the step's lower end; see code_of() in kernels_body.h.
    const auto bits_of_low =
        static_cast<std::uint32_t>(step + ((127 - DynamicCode::kOctaves) << DynamicCode::kStepBits))
        << (23 - DynamicCode::kStepBits);
    const float low = step == 0 ? 0.0F : std::bit_cast<float>(bits_of_low);
    std::uint8_t c = 0;
    while (code.border[c] <= low) ++c;
    code.first[step] = c;
  }
  return code;
}

}  // namespace

const DynamicCode& signed_code() {
  static const DynamicCode code = make_code(true);
  return code;
}

const DynamicCode& unsigned_code() {
  static const DynamicCode code = make_code(false);
  return code;
}

}  // namespace retort::train
