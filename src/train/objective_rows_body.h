// The losses of a row of logits, in lanes: part of train/kernels_body.h, which says how it is compiled.
//
// kl_row knows forward KL and cross-entropy alone and needs each logit's exponentials once; mixed_row knows every term
// of train/objective_mix.h. Both keep the exponentials of a row in scratch and write the gradient over the student's
// logits. Sums run in FP32 lanes for a block and in FP64 over blocks, so that no single-precision sum grows long.
#pragma once

#include "model/lanes.h"
#include "train/kernels.h"

namespace retort::train::RETORT_KERNELS_NAMESPACE {
namespace {

using namespace lanes;

constexpr float kNoLogit = -1e30F;  // no softmax notices it
constexpr std::size_t kSumBlock = 64 * kLanes;

// The largest logit of each row, where the softmax is centred. A NaN isn't seen here.
template <class T>
RETORT_INLINE float largest_logit(const T* logits, std::size_t whole, std::size_t rest) {
  // Four at a time: each comparison would wait for the one before.
  Floats most4[4] = {all(kNoLogit), all(kNoLogit), all(kNoLogit), all(kNoLogit)};
  std::size_t i = 0;
  for (; i + 4 * kLanes <= whole; i += 4 * kLanes) {
    for (std::size_t part = 0; part < 4; ++part) most4[part] = larger(load(logits + i + part * kLanes), most4[part]);
  }
  for (; i < whole; i += kLanes) most4[0] = larger(load(logits + i), most4[0]);
  if (rest != 0) most4[1] = larger(load_tail(logits + whole, rest, kNoLogit), most4[1]);
  const Floats most = larger(larger(most4[0], most4[1]), larger(most4[2], most4[3]));
  return largest(most);
}

// A NaN or plus infinity among the logits makes the sum of exponentials NaN; without any logit the largest is kNoLogit.
RETORT_INLINE bool finite_row(float most, double sum) { return most > kNoLogit && sum - sum == 0; }

template <class T>
RowLoss kl_row(T* student, const T* teacher, std::size_t n, std::int32_t target, RowWeights weights, bool gradient,
               float* scratch) {
  const std::size_t whole = n / kLanes * kLanes;
  const std::size_t rest = n - whole;
  const std::size_t padded = rest == 0 ? whole : whole + kLanes;
  float* student_exp = scratch;
  float* teacher_exp = scratch + padded;

  const float student_max = largest_logit(student, whole, rest);
  const float teacher_max = largest_logit(teacher, whole, rest);

  double student_sum = 0;
  double teacher_sum = 0;
  double difference = 0;
  for (std::size_t begin = 0; begin < padded; begin += kSumBlock) {
    const std::size_t end = begin + kSumBlock < padded ? begin + kSumBlock : padded;
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
      // Where the teacher has nothing, 0 log 0 is 0, also when the student has nothing there either (both -inf).
      block_difference += et * (t <= all(-87.0F) ? all(0) : t - s);
    }
    student_sum += total(block_student);
    teacher_sum += total(block_teacher);
    difference += total(block_difference);
  }

  const double student_log = __builtin_log(student_sum);
  RowLoss loss;
  loss.student_finite = finite_row(student_max, student_sum);
  loss.teacher_finite = finite_row(teacher_max, teacher_sum);
  loss.kl = difference / teacher_sum - __builtin_log(teacher_sum) + student_log;
  // A divergence is at least 0 (Gibbs); what is less by so little is the rounding of these sums. More would be a
  // mistake, and stays to be seen.
  if (loss.kl < 0 && loss.kl > -1e-4) loss.kl = 0;
  loss.cross_entropy = static_cast<double>(student_max) + student_log -
                       static_cast<double>(widen(student[static_cast<std::size_t>(target)]));
  loss.loss = weights.kl == 0 ? 0 : static_cast<double>(weights.kl) * loss.kl;
  if (weights.cross_entropy != 0) loss.loss += static_cast<double>(weights.cross_entropy) * loss.cross_entropy;
  if (!gradient) return loss;

  // d loss / d student logit = (kl + ce) p_student - kl p_teacher - ce [target]
  const auto a = static_cast<float>(weights.scale * (weights.kl + weights.cross_entropy) / student_sum);
  // a e_s - b e_t, written so that equal logits give exactly 0 however the compiler fuses.
  const auto a_less_b = static_cast<float>(static_cast<double>(weights.scale) *
                                           (static_cast<double>(weights.kl + weights.cross_entropy) / student_sum -
                                            static_cast<double>(weights.kl) / teacher_sum));
  const std::size_t at = static_cast<std::size_t>(target);
  student_exp[at] -= static_cast<float>(weights.scale * weights.cross_entropy / static_cast<double>(a));
  const auto gradient_at = [&](std::size_t i) {
    const Floats et = load(teacher_exp + i);
    return (load(student_exp + i) - et) * a + et * a_less_b;
  };
  for (std::size_t i = 0; i < whole; i += kLanes) store(student + i, gradient_at(i));
  if (rest != 0) store_tail(student + whole, gradient_at(whole), rest);
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

// Probabilities below this count as none: it keeps their products and quotients away from denormal numbers.
constexpr float kNoMass = 1e-32F;

// Both zero or both equal to the last bit must give exactly that: then every term below is exactly 0.
RETORT_INLINE Floats mixture(const Floats& x, const Floats& y, float weight, float other_weight) {
  return x == y ? x : x * weight + y * other_weight;
}

// x log(x / y) - x + y, with `a` = log(x / y): at least 0 for every single token, and its sum over a vocabulary is
// KL(x || y), because both sum to 1. So neither cancellation nor the type of the logits can make a divergence negative,
// and near equality it keeps its digits: x (a^2/2 - a^3/6 + ...) there. `x` may be 0, with any finite `a` of at
// least 1.
RETORT_INLINE Floats divergence(const Floats& x, const Floats& a, const Floats& y) {
  Floats series = a * (-1.0F / 5040.0F) + (1.0F / 720.0F);
  series = series * a - (1.0F / 120.0F);
  series = series * a + (1.0F / 24.0F);
  series = series * a - (1.0F / 6.0F);
  series = series * a + 0.5F;
  const Floats near = x * (a * a * series);
  const Floats far = x * a + (y - x);
  const Floats size = a < all(0) ? -a : a;
  return size < all(0.25F) ? near : far;
}

// log(x / y), for x > 0 or of no account.
RETORT_INLINE Floats log_ratio(const Floats& x, const Floats& y) {
  return log_of_positive(larger(x / larger(y, all(1e-37F)), all(1e-37F)));
}

struct MixedLanes {
  Floats kl;    // of this lane's tokens: forward KL
  Floats rest;  // the other divergences, weighted
  Floats pull;  // q times the derivative of `rest` by q; a constant added to the derivative changes no gradient
};

// `d` = log p - log q, which is of no account where the larger of the two has no mass.
RETORT_INLINE MixedLanes mixed_lanes(const Floats& p, const Floats& q, const Floats& d, const RowMix& mix) {
  MixedLanes lanes{divergence(p, p == all(0) ? all(1) : d, q), all(0), all(0)};
  if (mix.reverse_kl != 0) {
    const Floats a = q == all(0) ? all(1) : -d;
    lanes.rest += mix.reverse_kl * divergence(q, a, p);
    lanes.pull += mix.reverse_kl * (q * a);  // log(q / p)
  }
  if (mix.jsd != 0) {
    const float other = 1.0F - mix.beta;
    const Floats m = mixture(p, q, mix.beta, other);
    const Floats b = log_ratio(q, m);
    lanes.rest += mix.jsd * (mix.beta * divergence(p, log_ratio(p, m), m) + other * divergence(q, b, m));
    lanes.pull += mix.jsd * other * (q * b);  // (1 - beta) log(q / m)
  }
  if (mix.skew_kl != 0) {
    const float other = 1.0F - mix.skew;
    const Floats m = mixture(p, q, mix.skew, other);
    lanes.rest += mix.skew_kl * divergence(p, log_ratio(p, m), m);
    // -(1 - s) p / m, plus 1 - s
    lanes.pull += mix.skew_kl * other * other * (q * ((q - p) / larger(m, all(1e-37F))));
  }
  if (mix.skew_rkl != 0) {
    const float other = 1.0F - mix.skew;
    const Floats m = mixture(q, p, mix.skew, other);
    const Floats b = log_ratio(q, m);
    lanes.rest += mix.skew_rkl * divergence(q, b, m);
    // log(q / m) + 1 - s q / m, less 1 - s
    lanes.pull += mix.skew_rkl * (q * (b + mix.skew * other * ((p - q) / larger(m, all(1e-37F)))));
  }
  if (mix.tvd != 0) {
    const Floats half = (q > p ? all(0.5F) : (q < p ? all(-0.5F) : all(0))) * mix.tvd;
    lanes.rest += half * (q - p);
    lanes.pull += half * q;
  }
  return lanes;
}

template <class T>
RowLoss mixed_row(T* student, const T* teacher, std::size_t n, std::int32_t target, const RowMix& mix, bool gradient,
                  float* scratch) {
  const std::size_t whole = n / kLanes * kLanes;
  const std::size_t rest = n - whole;
  const std::size_t padded = rest == 0 ? whole : whole + kLanes;
  float* student_exp = scratch;           // then q
  float* teacher_exp = scratch + padded;  // then the gradient before it is centred
  const float student_max = largest_logit(student, whole, rest);
  const float teacher_max = largest_logit(teacher, whole, rest);
  const auto logits_at = [&](const T* row, std::size_t i, float most) {
    return (i >= whole ? load_tail(row + i, rest, kNoLogit) : load(row + i)) - most;
  };

  double student_sum = 0;
  double teacher_sum = 0;
  for (std::size_t begin = 0; begin < padded; begin += kSumBlock) {
    const std::size_t end = begin + kSumBlock < padded ? begin + kSumBlock : padded;
    Floats block_student = all(0);
    Floats block_teacher = all(0);
    for (std::size_t i = begin; i < end; i += kLanes) {
      const Floats es = exp_of_negative(logits_at(student, i, student_max) * mix.inverse_temperature);
      const Floats et = exp_of_negative(logits_at(teacher, i, teacher_max) * mix.inverse_temperature);
      store(student_exp + i, es);
      store(teacher_exp + i, et);
      block_student += es;
      block_teacher += et;
    }
    student_sum += total(block_student);
    teacher_sum += total(block_teacher);
  }
  const double student_log = __builtin_log(student_sum);
  RowLoss loss;
  loss.student_finite = finite_row(student_max, student_sum);
  loss.teacher_finite = finite_row(teacher_max, teacher_sum);
  const std::size_t at = static_cast<std::size_t>(target);
  loss.cross_entropy = student_log - (static_cast<double>(widen(student[at])) - static_cast<double>(student_max)) *
                                         static_cast<double>(mix.inverse_temperature);

  const auto student_scale = static_cast<float>(1.0 / student_sum);
  const auto teacher_scale = static_cast<float>(1.0 / teacher_sum);
  const auto log_shift = static_cast<float>(student_log - __builtin_log(teacher_sum));
  double rest_sum = 0;
  double pull_sum = 0;
  for (std::size_t begin = 0; begin < padded; begin += kSumBlock) {
    const std::size_t end = begin + kSumBlock < padded ? begin + kSumBlock : padded;
    Floats block_kl = all(0);
    Floats block_rest = all(0);
    Floats block_pull = all(0);
    for (std::size_t i = begin; i < end; i += kLanes) {
      const Floats es = load(student_exp + i);
      const Floats et = load(teacher_exp + i);
      const Floats q = es < all(kNoMass) ? all(0) : es * student_scale;
      const Floats p = et < all(kNoMass) ? all(0) : et * teacher_scale;
      // Subtracted before they are scaled: equal logits are then equal, however the compiler fuses.
      const Floats apart = logits_at(teacher, i, teacher_max) - logits_at(student, i, student_max);
      const Floats d = apart * mix.inverse_temperature + log_shift;
      const MixedLanes lanes = mixed_lanes(p, q, d, mix);
      block_kl += lanes.kl;
      block_rest += lanes.rest;
      block_pull += lanes.pull;
      if (!gradient) continue;
      store(student_exp + i, q);
      store(teacher_exp + i, mix.forward_kl * (q - p) + mix.cross_entropy * q + lanes.pull);
    }
    loss.kl += total(block_kl);
    rest_sum += total(block_rest);
    pull_sum += total(block_pull);
  }
  loss.loss = rest_sum;
  if (mix.forward_kl != 0) loss.loss += static_cast<double>(mix.forward_kl) * loss.kl;
  if (mix.cross_entropy != 0) loss.loss += static_cast<double>(mix.cross_entropy) * loss.cross_entropy;
  if (!gradient) return loss;

  // d q_i / d z_j = q_i ([i = j] - q_j): the pull of each token less its share of the whole.
  teacher_exp[at] -= mix.cross_entropy;
  const auto centre = static_cast<float>(pull_sum);
  for (std::size_t i = 0; i < padded; i += kLanes) {
    const Floats value = (load(teacher_exp + i) - load(student_exp + i) * centre) * mix.scale;
    if (i < whole) {
      store(student + i, value);
    } else {
      store_tail(student + i, value, rest);
    }
  }
  return loss;
}

RowLoss mixed_row_f32(float* student, const float* teacher, std::size_t n, std::int32_t target, const RowMix& mix,
                      bool gradient, float* scratch) {
  return mixed_row(student, teacher, n, target, mix, gradient, scratch);
}

RowLoss mixed_row_bf16(Bf16* student, const Bf16* teacher, std::size_t n, std::int32_t target, const RowMix& mix,
                       bool gradient, float* scratch) {
  return mixed_row(student, teacher, n, target, mix, gradient, scratch);
}

}  // namespace
}  // namespace retort::train::RETORT_KERNELS_NAMESPACE
