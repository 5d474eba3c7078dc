// The loss of a row of student logits against a few of the teacher's tokens: part of train/kernels_body.h.
//
// Only the student's softmax runs over the vocabulary; the rest is a handful of tokens, in FP64.
#pragma once

#include "train/objective_rows_body.h"

namespace retort::train::RETORT_KERNELS_NAMESPACE {
namespace {

RETORT_INLINE void put(float* to, float value) { *to = value; }
RETORT_INLINE void put(Bf16* to, float value) { store_tail(to, all(value), 1); }

template <class T>
RowLoss sparse_row(T* student, std::size_t n, const SparseTokens& tokens, std::int32_t target, const SparseMix& mix,
                   bool gradient, float* scratch) {
  const std::size_t whole = n / kLanes * kLanes;
  const std::size_t rest = n - whole;
  const std::size_t padded = rest == 0 ? whole : whole + kLanes;
  const float most = largest_logit(student, whole, rest);
  for (std::size_t i = 0; i < padded; i += kLanes) {
    const Floats logits = i >= whole ? load_tail(student + i, rest, kNoLogit) : load(student + i);
    store(scratch + i, exp_of_negative((logits - most) * mix.inverse_temperature));
  }
  // The listed tokens' exponentials are added apart: the rest's share, which may be tiny, is then no difference.
  double listed = 0;
  for (std::size_t j = 0; j < tokens.count; ++j) {
    if (tokens.weights[j] == 0) continue;  // an empty slot
    float* place = scratch + tokens.ids[j];
    listed += static_cast<double>(*place);
    *place = 0;
  }
  double others = 0;
  for (std::size_t begin = 0; begin < padded; begin += kSumBlock) {
    const std::size_t end = begin + kSumBlock < padded ? begin + kSumBlock : padded;
    Floats block = all(0);
    for (std::size_t i = begin; i < end; i += kLanes) block += load(scratch + i);
    others += total(block);
  }
  const double sum = listed + others;
  const double log_sum = __builtin_log(sum);
  const auto log_q = [&](std::size_t id) {
    return (static_cast<double>(widen(student[id])) - static_cast<double>(most)) *
               static_cast<double>(mix.inverse_temperature) -
           log_sum;
  };

  RowLoss loss;
  loss.student_finite = finite_row(most, sum);
  double mass = 0;  // of the listed tokens
  double negative_entropy = 0;
  double cross = 0;
  for (std::size_t j = 0; j < tokens.count; ++j) {
    const auto weight = static_cast<double>(tokens.weights[j]);
    if (weight == 0) continue;
    mass += weight;
    negative_entropy += weight * __builtin_log(weight);
    cross -= weight * log_q(static_cast<std::size_t>(tokens.ids[j]));
  }
  double pull = mass;         // what q is multiplied by where a token is listed,
  double others_pull = mass;  // and elsewhere
  if (tokens.bucket) {
    const double tail = mass < 1 ? 1 - mass : 0;
    const double tail_q = others > 1e-30 ? others / sum : 1e-30;
    if (tail > 0) {
      negative_entropy += tail * __builtin_log(tail);
      cross -= tail * __builtin_log(tail_q);
    }
    pull = mass + tail;
    others_pull = pull - tail / tail_q;
    loss.kl = negative_entropy + cross;
    if (loss.kl < 0 && loss.kl > -1e-6) loss.kl = 0;  // a divergence of these buckets: less is rounding
  } else {
    loss.kl = cross - static_cast<double>(tokens.entropy);
  }
  const std::size_t at = static_cast<std::size_t>(target);
  loss.cross_entropy = -log_q(at);
  if (mix.kl != 0) loss.loss = static_cast<double>(mix.kl) * loss.kl;
  if (mix.cross_entropy != 0) loss.loss += static_cast<double>(mix.cross_entropy) * loss.cross_entropy;
  if (!gradient) return loss;

  const auto scale = static_cast<double>(mix.scale);
  const auto kl = static_cast<double>(mix.kl);
  const auto cross_entropy = static_cast<double>(mix.cross_entropy);
  const auto gradient_of = [&](double q, double token_pull, double weight, bool label) {
    return static_cast<float>(scale * (kl * (q * token_pull - weight) + cross_entropy * (q - (label ? 1.0 : 0.0))));
  };
  // The single tokens first, from their logits, into scratch; they are put where they belong at last.
  const double label_q = __builtin_exp(log_q(at));
  double listed_q[kMostSparseTokens];
  for (std::size_t j = 0; j < tokens.count; ++j) {
    listed_q[j] = tokens.weights[j] == 0 ? 0 : __builtin_exp(log_q(static_cast<std::size_t>(tokens.ids[j])));
  }
  const auto common = static_cast<float>(scale * (kl * others_pull + cross_entropy) / sum);
  for (std::size_t i = 0; i < whole; i += kLanes) store(student + i, load(scratch + i) * common);
  if (rest != 0) store_tail(student + whole, load(scratch + whole) * common, rest);
  put(student + at, gradient_of(label_q, others_pull, 0, true));
  for (std::size_t j = 0; j < tokens.count; ++j) {
    const auto id = static_cast<std::size_t>(tokens.ids[j]);
    const auto weight = static_cast<double>(tokens.weights[j]);
    if (weight == 0) continue;
    put(student + id, gradient_of(listed_q[j], pull, weight, id == at));
  }
  return loss;
}

RowLoss sparse_row_f32(float* student, std::size_t n, const SparseTokens& tokens, std::int32_t target,
                       const SparseMix& mix, bool gradient, float* scratch) {
  return sparse_row(student, n, tokens, target, mix, gradient, scratch);
}

RowLoss sparse_row_bf16(Bf16* student, std::size_t n, const SparseTokens& tokens, std::int32_t target,
                        const SparseMix& mix, bool gradient, float* scratch) {
  return sparse_row(student, n, tokens, target, mix, gradient, scratch);
}

}  // namespace
}  // namespace retort::train::RETORT_KERNELS_NAMESPACE
