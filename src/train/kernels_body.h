// The body of the kernels, included once for every instruction set with RETORT_KERNELS_NAMESPACE and
// RETORT_KERNELS_NAME defined. No standard library function may be used here: an inline one compiled for AVX-512 could
// be the one the linker keeps for everybody.
#include "model/lanes.h"
#include "train/dynamic_code.h"
#include "train/kernels.h"
#include "train/objective_rows_body.h"
#include "train/sparse_row_body.h"

namespace retort::train::RETORT_KERNELS_NAMESPACE {
namespace {

using namespace lanes;

RETORT_INLINE Floats square_root(const Floats& value) {
  Floats result;
  for (std::size_t i = 0; i < kLanes; ++i) result[i] = __builtin_sqrtf(value[i]);
  return result;
}

RETORT_INLINE void adam_lanes(Floats& w, Floats& m, Floats& v, const Floats& gradient, const AdamStep& step) {
  const Floats g = gradient * step.gradient_scale;
  m = m * step.beta1 + g * (1.0F - step.beta1);
  v = v * step.beta2 + g * g * (1.0F - step.beta2);
  const Floats denominator = square_root(v / step.correction2) + step.epsilon;
  w = w - step.learning_rate * (m / step.correction1 / denominator + step.weight_decay * w);
}

RETORT_INLINE Floats joined(const Bf16* upper, const std::int16_t* lower) {
  Halves high, low;
  __builtin_memcpy(&high, upper, sizeof(high));
  __builtin_memcpy(&low, lower, sizeof(low));
  // A lower half counts from -2^15.
  const Words low_words = widened(low);
  const Words words = (widened(high) << 16) + low_words - ((low_words & 0x8000U) << 1);
  Floats value;
  __builtin_memcpy(&value, &words, sizeof(value));
  return value;
}

RETORT_INLINE void store_halves(const Floats& value, Bf16* upper, std::int16_t* lower) {
  Words words;
  __builtin_memcpy(&words, &value, sizeof(words));
  const Halves low = narrowed(words);
  const Halves high = narrowed((words + 0x8000U) >> 16);
  __builtin_memcpy(upper, &high, sizeof(high));
  __builtin_memcpy(lower, &low, sizeof(low));
}

// The last, incomplete group.
RETORT_INLINE Floats joined_tail(const Bf16* upper, const std::int16_t* lower, std::size_t count) {
  Bf16 high[kLanes] = {};
  std::int16_t low[kLanes] = {};
  __builtin_memcpy(high, upper, count * sizeof(Bf16));
  __builtin_memcpy(low, lower, count * sizeof(std::int16_t));
  return joined(high, low);
}

RETORT_INLINE void store_halves_tail(const Floats& value, Bf16* upper, std::int16_t* lower, std::size_t count) {
  Bf16 high[kLanes];
  std::int16_t low[kLanes];
  store_halves(value, high, low);
  __builtin_memcpy(upper, high, count * sizeof(Bf16));
  __builtin_memcpy(lower, low, count * sizeof(std::int16_t));
}

void split(const float* values, Bf16* upper, std::int16_t* lower, std::size_t n) {
  const std::size_t whole = n / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) store_halves(load(values + i), upper + i, lower + i);
  if (whole == n) return;
  store_halves_tail(load_tail(values + whole, n - whole, 0), upper + whole, lower + whole, n - whole);
}

void join(const Bf16* upper, const std::int16_t* lower, float* values, std::size_t n) {
  const std::size_t whole = n / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) store(values + i, joined(upper + i, lower + i));
  if (whole == n) return;
  store_tail(values + whole, joined_tail(upper + whole, lower + whole, n - whole), n - whole);
}

// MasterWeights of either kind, sixteen at a time.
struct WholeWeights {
  float* values;
  RETORT_INLINE Floats read(std::size_t i) const { return load(values + i); }
  RETORT_INLINE void write(std::size_t i, const Floats& w) const { store(values + i, w); }
  RETORT_INLINE Floats read_tail(std::size_t i, std::size_t count) const { return load_tail(values + i, count, 0); }
  RETORT_INLINE void write_tail(std::size_t i, const Floats& w, std::size_t count) const {
    store_tail(values + i, w, count);
  }
};

struct HalvedWeights {
  Bf16* upper;
  std::int16_t* lower;
  RETORT_INLINE Floats read(std::size_t i) const { return joined(upper + i, lower + i); }
  RETORT_INLINE void write(std::size_t i, const Floats& w) const { store_halves(w, upper + i, lower + i); }
  RETORT_INLINE Floats read_tail(std::size_t i, std::size_t count) const {
    return joined_tail(upper + i, lower + i, count);
  }
  RETORT_INLINE void write_tail(std::size_t i, const Floats& w, std::size_t count) const {
    store_halves_tail(w, upper + i, lower + i, count);
  }
};

template <class Weights, class Gradient>
RETORT_INLINE void adamw_of(const Weights& weights, float* m, float* v, const Gradient* gradient, std::size_t n,
                            const AdamStep& step) {
  const std::size_t whole = n / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    Floats w = weights.read(i);
    Floats m_lanes = load(m + i);
    Floats v_lanes = load(v + i);
    adam_lanes(w, m_lanes, v_lanes, load(gradient + i), step);
    weights.write(i, w);
    store(m + i, m_lanes);
    store(v + i, v_lanes);
  }
  if (whole == n) return;
  const std::size_t rest = n - whole;
  Floats w = weights.read_tail(whole, rest);
  Floats m_lanes = load_tail(m + whole, rest, 0);
  Floats v_lanes = load_tail(v + whole, rest, 0);
  adam_lanes(w, m_lanes, v_lanes, load_tail(gradient + whole, rest, 0), step);
  weights.write_tail(whole, w, rest);
  store_tail(m + whole, m_lanes, rest);
  store_tail(v + whole, v_lanes, rest);
}

template <class Weights>
RETORT_INLINE void adamw_of(const Weights& weights, float* m, float* v, const GradientValues& gradient, std::size_t n,
                            const AdamStep& step) {
  if (gradient.values != nullptr) {
    adamw_of(weights, m, v, gradient.values, n, step);
  } else {
    adamw_of(weights, m, v, gradient.rounded, n, step);
  }
}

void adamw(MasterWeights weights, float* m, float* v, GradientValues gradient, std::size_t n, AdamStep step) {
  if (weights.values != nullptr) {
    adamw_of(WholeWeights{weights.values}, m, v, gradient, n, step);
  } else {
    adamw_of(HalvedWeights{weights.upper, weights.lower}, m, v, gradient, n, step);
  }
}

// The code of a value whose magnitude is at most 1. The upper bits of a float (exponent and kStepBits of the fraction)
// number steps that hold at most one border between codes.
RETORT_INLINE std::uint8_t code_of(float value, const DynamicCode& code) {
  constexpr std::uint32_t kShift = 23 - DynamicCode::kStepBits;
  constexpr std::uint32_t kLowest = (127 - DynamicCode::kOctaves) << DynamicCode::kStepBits;
  const auto bits = __builtin_bit_cast(std::uint32_t, value);
  const std::uint32_t magnitude_bits = bits & 0x7FFFFFFFU;
  const float magnitude = __builtin_bit_cast(float, magnitude_bits);
  const std::uint32_t step = magnitude_bits >> kShift;
  std::uint32_t c = code.first[step > kLowest ? step - kLowest : 0];
  c += magnitude >= code.border[c] ? 1U : 0U;
  if (c < code.least && magnitude > 0) c = code.least;
  if (code.has_sign && c != 0) c |= (bits >> 24) & 0x80U;
  return static_cast<std::uint8_t>(c);
}

RETORT_INLINE void read_block(const std::uint8_t* codes, float scale, const DynamicCode& code, std::size_t n,
                              float* values) {
  for (std::size_t i = 0; i < n; ++i) values[i] = code.value[codes[i]] * scale;
}

// Returns the scale.
RETORT_INLINE float write_block(const float* values, const DynamicCode& code, std::size_t n, std::uint8_t* codes) {
  float scale = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const float magnitude = __builtin_fabsf(values[i]);
    scale = magnitude > scale ? magnitude : scale;
  }
  const float inverse = scale > 0 ? 1.0F / scale : 0.0F;
  // The inverse of a scale so small that it overflows is of no use: such a block is zero.
  const bool usable = inverse < 3e38F;
  for (std::size_t i = 0; i < n; ++i) {
    const float value = usable ? values[i] * inverse : 0.0F;
    codes[i] = code_of(value > 1.0F ? 1.0F : value < -1.0F ? -1.0F : value, code);
  }
  return usable ? scale : 0.0F;
}

void adamw_8_bit(MasterWeights weights, AdamState8 state, GradientValues gradient, std::size_t n, AdamStep step) {
  constexpr auto kCodes = static_cast<std::size_t>(kCodeBlock);
  alignas(64) float m[kCodes];
  alignas(64) float v[kCodes];
  for (std::size_t begin = 0; begin < n; begin += kCodes, ++state.m_scales, ++state.v_scales) {
    const std::size_t count = n - begin < kCodes ? n - begin : kCodes;
    read_block(state.m + begin, *state.m_scales, *state.m_code, count, m);
    read_block(state.v + begin, *state.v_scales, *state.v_code, count, v);
    const auto first = static_cast<std::ptrdiff_t>(begin);
    adamw(weights.from(first), m, v, gradient.from(first), count, step);
    *state.m_scales = write_block(m, *state.m_code, count, state.m + begin);
    *state.v_scales = write_block(v, *state.v_code, count, state.v + begin);
  }
}

template <class T>
RETORT_INLINE double squares_of(const T* values, std::size_t n) {
  const std::size_t whole = n / kLanes * kLanes;
  double sum = 0;
  for (std::size_t begin = 0; begin < whole; begin += kSumBlock) {
    const std::size_t end = begin + kSumBlock < whole ? begin + kSumBlock : whole;
    Floats block = all(0);
    for (std::size_t i = begin; i < end; i += kLanes) block += load(values + i) * load(values + i);
    sum += total(block);
  }
  for (std::size_t i = whole; i < n; ++i) {
    const auto value = static_cast<double>(widen(values[i]));
    sum += value * value;
  }
  return sum;
}

double sum_of_squares(GradientValues gradient, std::size_t n) {
  return gradient.values != nullptr ? squares_of(gradient.values, n) : squares_of(gradient.rounded, n);
}

void add_bf16(float* sum, const Bf16* values, std::size_t n) {
  const std::size_t whole = n / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) store(sum + i, load(sum + i) + load(values + i));
  for (std::size_t i = whole; i < n; ++i) sum[i] += widen(values[i]);
}

void to_bf16(const float* values, Bf16* target, std::size_t n) {
  const std::size_t whole = n / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) store(target + i, load(values + i));
  if (whole != n) store_tail(target + whole, load_tail(values + whole, n - whole, 0), n - whole);
}

void from_bf16(const Bf16* values, float* target, std::size_t n) {
  const std::size_t whole = n / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) store(target + i, load(values + i));
  for (std::size_t i = whole; i < n; ++i) target[i] = widen(values[i]);
}

}  // namespace

extern const Kernels kKernels;
const Kernels kKernels = {RETORT_KERNELS_NAME,
                          kl_row_f32,
                          kl_row_bf16,
                          mixed_row_f32,
                          mixed_row_bf16,
                          sparse_row_f32,
                          sparse_row_bf16,
                          adamw,
                          adamw_8_bit,
                          split,
                          join,
                          sum_of_squares,
                          add_bf16,
                          to_bf16,
                          from_bf16};

}  // namespace retort::train::RETORT_KERNELS_NAMESPACE
