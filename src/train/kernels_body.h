// The body of the kernels, included once for every instruction set with RETORT_KERNELS_NAMESPACE and
// RETORT_KERNELS_NAME defined. No standard library function may be used here: an inline one compiled for AVX-512 could
// be the one the linker keeps for everybody.
#include "model/lanes.h"
#include "train/kernels.h"
#include "train/objective_rows_body.h"

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
  Floats w = load_tail(weights + whole, rest, 0);
  Floats m_lanes = load_tail(m + whole, rest, 0);
  Floats v_lanes = load_tail(v + whole, rest, 0);
  adam_lanes(w, m_lanes, v_lanes, load_tail(gradient + whole, rest, 0), step);
  store_tail(weights + whole, w, rest);
  store_tail(m + whole, m_lanes, rest);
  store_tail(v + whole, v_lanes, rest);
  if (copy != nullptr) store_tail(copy + whole, w, rest);
}

double sum_of_squares(const float* values, std::size_t n) {
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
  for (std::size_t i = whole; i < n; ++i) sum[i] += widen(values[i]);
}

void to_bf16(const float* values, Bf16* target, std::size_t n) {
  const std::size_t whole = n / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) store(target + i, load(values + i));
  if (whole != n) store_tail(target + whole, load_tail(values + whole, n - whole, 0), n - whole);
}

}  // namespace

extern const Kernels kKernels;
const Kernels kKernels = {RETORT_KERNELS_NAME, kl_row_f32, kl_row_bf16, mixed_row_f32, mixed_row_bf16, adamw,
                          sum_of_squares,      add_bf16,   to_bf16};

}  // namespace retort::train::RETORT_KERNELS_NAMESPACE
