// The body of the kernels, included once for every instruction set with RETORT_KERNELS_NAMESPACE and
// RETORT_KERNELS_NAME defined. No standard library function may be used here: an inline one compiled for AVX-512 could
// be the one the linker keeps for everybody.
#include "model/lanes.h"
#include "train/kernels.h"

namespace retort::train::RETORT_KERNELS_NAMESPACE {
namespace {

using namespace lanes;

constexpr float kNoLogit = -1e30F;  // no softmax notices it

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
    student_max4[1] = load_tail(student + whole, rest, kNoLogit);
    teacher_max4[1] = load_tail(teacher + whole, rest, kNoLogit);
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
      const Floats s = (tail ? load_tail(student + i, rest, kNoLogit) : load(student + i)) - student_max;
      const Floats t = (tail ? load_tail(teacher + i, rest, kNoLogit) : load(teacher + i)) - teacher_max;
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
                       static_cast<double>(widen(student[static_cast<std::size_t>(target)]));
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
  for (std::size_t i = whole; i < n; ++i) sum[i] += widen(values[i]);
}

void to_bf16(const float* values, Bf16* target, std::size_t n) {
  const std::size_t whole = n / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) store(target + i, load(values + i));
  if (whole != n) store_tail(target + whole, load_tail(values + whole, n - whole, 0), n - whole);
}

}  // namespace

extern const Kernels kKernels;
const Kernels kKernels = {RETORT_KERNELS_NAME, kl_row_f32, kl_row_bf16, adamw, sum_of_squares, add_bf16, to_bf16};

}  // namespace retort::train::RETORT_KERNELS_NAMESPACE
