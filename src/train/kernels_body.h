// The body of the kernels, included once for every instruction set with RETORT_KERNELS_NAMESPACE and
// RETORT_KERNELS_NAME defined. No standard library function may be used here: an inline one compiled for AVX-512 could
// be the one the linker keeps for everybody.
#include "train/kernels.h"

namespace retort::train::RETORT_KERNELS_NAMESPACE {
namespace {

constexpr std::size_t kLanes = 16;
using Floats = float __attribute__((vector_size(64)));
using Words = std::uint32_t __attribute__((vector_size(64)));
using Halves = std::uint16_t __attribute__((vector_size(32)));

#define RETORT_INLINE inline __attribute__((always_inline))

RETORT_INLINE Floats all(float value) { return Floats{} + value; }

RETORT_INLINE Floats load(const float* p) {
  Floats value;
  __builtin_memcpy(&value, p, sizeof(value));
  return value;
}

RETORT_INLINE Floats load(const Bf16* p) {
  Halves halves;
  __builtin_memcpy(&halves, p, sizeof(halves));
  const Words words = __builtin_convertvector(halves, Words) << 16;
  Floats value;
  __builtin_memcpy(&value, &words, sizeof(value));
  return value;
}

RETORT_INLINE void store(float* p, const Floats& value) { __builtin_memcpy(p, &value, sizeof(value)); }

// Rounds to nearest, ties to even. NaN keeps being NaN unless its payload is only in the lower half.
RETORT_INLINE void store(Bf16* p, const Floats& value) {
  Words words;
  __builtin_memcpy(&words, &value, sizeof(words));
  words = (words + 0x7FFFU + ((words >> 16) & 1U)) >> 16;
  const Halves halves = __builtin_convertvector(words, Halves);
  __builtin_memcpy(p, &halves, sizeof(halves));
}

// The last, incomplete group, filled up with a logit that no softmax notices.
template <class T>
RETORT_INLINE Floats load_tail(const T* p, std::size_t count) {
  float lanes[kLanes];
  for (std::size_t i = 0; i < kLanes; ++i) lanes[i] = -1e30F;
  for (std::size_t i = 0; i < count; ++i) {
    if constexpr (sizeof(T) == sizeof(float)) {
      lanes[i] = p[i];
    } else {
      const std::uint32_t word = static_cast<std::uint32_t>(p[i]) << 16;
      __builtin_memcpy(&lanes[i], &word, sizeof(word));
    }
  }
  return load(lanes);
}

template <class T>
RETORT_INLINE void store_tail(T* p, const Floats& value, std::size_t count) {
  T lanes[kLanes];
  store(lanes, value);
  for (std::size_t i = 0; i < count; ++i) p[i] = lanes[i];
}

RETORT_INLINE Floats larger(const Floats& a, const Floats& b) { return a > b ? a : b; }

RETORT_INLINE float largest(const Floats& value) {
  float result = value[0];
  for (std::size_t i = 1; i < kLanes; ++i) result = value[i] > result ? value[i] : result;
  return result;
}

RETORT_INLINE double total(const Floats& value) {
  double result = 0;
  for (std::size_t i = 0; i < kLanes; ++i) result += static_cast<double>(value[i]);
  return result;
}

// exp(x) for x <= 0: x = n ln 2 + r, |r| <= ln 2 / 2, and the Taylor series of exp(r) to the sixth power (relative
// error below 2e-7). Below -87 the result stays at about 1e-38.
RETORT_INLINE Floats exp_of_negative(const Floats& argument) {
  const Floats x = larger(argument, all(-87.0F));
  const Floats shifted = x * 1.44269504F + 12582912.0F;  // 1.5 * 2^23: the integer part lands in the low bits
  Words exponent;
  __builtin_memcpy(&exponent, &shifted, sizeof(exponent));
  const Floats n = shifted - 12582912.0F;
  const Floats r = (x - n * 0.693145752F) - n * 1.42860677e-6F;
  Floats y = r * (1.0F / 720.0F) + (1.0F / 120.0F);
  y = y * r + (1.0F / 24.0F);
  y = y * r + (1.0F / 6.0F);
  y = y * r + 0.5F;
  y = y * r + 1.0F;
  y = y * r + 1.0F;
  Words bits;
  __builtin_memcpy(&bits, &y, sizeof(bits));
  bits += exponent << 23;  // the low nine bits of `exponent` are n modulo 512; adding them moves the power of two
  __builtin_memcpy(&y, &bits, sizeof(bits));
  return y;
}

template <class T>
RETORT_INLINE float value_at(const T* p, std::size_t i) {
  return load_tail(p + i, 1)[0];
}

template <class T>
RowLoss kl_row(T* student, const T* teacher, std::size_t n, std::int32_t target, RowWeights weights, bool gradient,
               float* scratch) {
  const std::size_t whole = n / kLanes * kLanes;
  const std::size_t rest = n - whole;
  const std::size_t padded = rest == 0 ? whole : whole + kLanes;
  float* student_exp = scratch;
  float* teacher_exp = scratch + padded;

  Floats student_max4[2] = {all(-1e30F), all(-1e30F)};
  Floats teacher_max4[2] = {all(-1e30F), all(-1e30F)};
  for (std::size_t i = 0; i < whole; i += kLanes) {
    student_max4[0] = larger(load(student + i), student_max4[0]);
    teacher_max4[0] = larger(load(teacher + i), teacher_max4[0]);
  }
  if (rest != 0) {
    student_max4[1] = load_tail(student + whole, rest);
    teacher_max4[1] = load_tail(teacher + whole, rest);
  }
  const float student_max = largest(larger(student_max4[0], student_max4[1]));
  const float teacher_max = largest(larger(teacher_max4[0], teacher_max4[1]));

  // In blocks, so that no single-precision sum grows long.
  constexpr std::size_t kBlock = 64 * kLanes;
  double student_sum = 0;
  double teacher_sum = 0;
  double difference = 0;
  for (std::size_t begin = 0; begin < padded; begin += kBlock) {
    const std::size_t end = begin + kBlock < padded ? begin + kBlock : padded;
    Floats block_student = all(0);
    Floats block_teacher = all(0);
    Floats block_difference = all(0);
    for (std::size_t i = begin; i < end; i += kLanes) {
      const bool tail = i >= whole;
      const Floats s = (tail ? load_tail(student + i, rest) : load(student + i)) - student_max;
      const Floats t = (tail ? load_tail(teacher + i, rest) : load(teacher + i)) - teacher_max;
      const Floats es = exp_of_negative(s);
      const Floats et = exp_of_negative(t);
      store(student_exp + i, es);
      store(teacher_exp + i, et);
      block_student += es;
      block_teacher += et;
      block_difference += et * (t - s);
    }
    student_sum += total(block_student);
    teacher_sum += total(block_teacher);
    difference += total(block_difference);
  }

  const double student_log = __builtin_log(student_sum);
  RowLoss loss;
  loss.kl = difference / teacher_sum - __builtin_log(teacher_sum) + student_log;
  loss.cross_entropy = static_cast<double>(student_max) + student_log -
                       static_cast<double>(value_at(student, static_cast<std::size_t>(target)));
  if (!gradient) return loss;

  // d loss / d student logit = (kl + ce) p_student - kl p_teacher - ce [target]
  const auto a = static_cast<float>(weights.scale * (weights.kl + weights.cross_entropy) / student_sum);
  const auto b = static_cast<float>(weights.scale * weights.kl / teacher_sum);
  const std::size_t at = static_cast<std::size_t>(target);
  student_exp[at] -= static_cast<float>(weights.scale * weights.cross_entropy / static_cast<double>(a));
  for (std::size_t i = 0; i < whole; i += kLanes) {
    store(student + i, load(student_exp + i) * a - load(teacher_exp + i) * b);
  }
  if (rest != 0) store_tail(student + whole, load(student_exp + whole) * a - load(teacher_exp + whole) * b, rest);
  return loss;
}

RowLoss kl_row_f32(float* student, const float* teacher, std::size_t n, std::int32_t target, RowWeights weights,
                   bool gradient, float* scratch) {
  return kl_row(student, teacher, n, target, weights, gradient, scratch);
}

RowLoss kl_row_bf16(Bf16* student, const Bf16* teacher, std::size_t n, std::int32_t target, RowWeights weights,
                    bool gradient, float* scratch) {
  return kl_row(student, teacher, n, target, weights, gradient, scratch);
}

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

void adamw(float* weights, float* m, float* v, const float* gradient, Bf16* copy, std::size_t n, AdamStep step) {
  const std::size_t whole = n / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    Floats w = load(weights + i);
    Floats m_lanes = load(m + i);
    Floats v_lanes = load(v + i);
    adam_lanes(w, m_lanes, v_lanes, load(gradient + i), step);
    store(weights + i, w);
    store(m + i, m_lanes);
    store(v + i, v_lanes);
    if (copy != nullptr) store(copy + i, w);
  }
  if (whole == n) return;
  const std::size_t rest = n - whole;
  Floats w = load_tail(weights + whole, rest);
  Floats m_lanes = load_tail(m + whole, rest);
  Floats v_lanes = load_tail(v + whole, rest);
  adam_lanes(w, m_lanes, v_lanes, load_tail(gradient + whole, rest), step);
  store_tail(weights + whole, w, rest);
  store_tail(m + whole, m_lanes, rest);
  store_tail(v + whole, v_lanes, rest);
  if (copy != nullptr) store_tail(copy + whole, w, rest);
}

double sum_of_squares(const float* values, std::size_t n) {
  constexpr std::size_t kBlock = 64 * kLanes;
  const std::size_t whole = n / kLanes * kLanes;
  double sum = 0;
  for (std::size_t begin = 0; begin < whole; begin += kBlock) {
    const std::size_t end = begin + kBlock < whole ? begin + kBlock : whole;
    Floats block = all(0);
    for (std::size_t i = begin; i < end; i += kLanes) block += load(values + i) * load(values + i);
    sum += total(block);
  }
  for (std::size_t i = whole; i < n; ++i) sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  return sum;
}

void add_bf16(float* sum, const Bf16* values, std::size_t n) {
  const std::size_t whole = n / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) store(sum + i, load(sum + i) + load(values + i));
  for (std::size_t i = whole; i < n; ++i) sum[i] += value_at(values, i);
}

void to_bf16(const float* values, Bf16* target, std::size_t n) {
  const std::size_t whole = n / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) store(target + i, load(values + i));
  if (whole != n) store_tail(target + whole, load_tail(values + whole, n - whole), n - whole);
}

}  // namespace

extern const Kernels kKernels;
const Kernels kKernels = {RETORT_KERNELS_NAME, kl_row_f32, kl_row_bf16, adamw, sum_of_squares, add_bf16, to_bf16};

}  // namespace retort::train::RETORT_KERNELS_NAMESPACE
