// An objective over rows of logits: the loss, and its gradient written over the student's logits.
//
// The production path: what training runs on each chunk and what `retort objective` shows. Rows are spread over
// libtorch's threads and summed in their order, so that the number of threads doesn't show. Keeps scratch memory. One
// thread at a time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "exchange/exchange.h"
#include "train/kernels.h"
#include "train/objective_mix.h"

namespace retort::train {

// Nats, summed over rows.
struct LossSums {
  double loss = 0;           // of the objective
  double kl = 0;             // KL(teacher || student), at the objective's temperature
  double cross_entropy = 0;  // of the labels, at the objective's temperature
  std::int64_t tokens = 0;
  std::int64_t bad_student_rows = 0;  // with a logit that is NaN or plus infinity, or without any above minus infinity
  std::int64_t bad_teacher_rows = 0;

  LossSums& operator+=(const LossSums& other);
};

// What is kept of the teacher for some rows: `slots` tokens each, with weights.
struct SparseSignal {
  std::size_t slots = 0;          // 0: nothing; only cross-entropy can be trained
  bool bucket = false;            // as in SparseTokens
  std::vector<std::int32_t> ids;  // [rows, slots]
  std::vector<float> weights;     // [rows, slots]
  std::vector<float> entropies;   // [rows]
};

class ObjectiveRows {
 public:
  // The mix must pass check().
  ObjectiveRows(const ObjectiveMix& mix, std::int64_t vocabulary);

  // student, teacher: [targets.size(), vocabulary]; a target is a token id in [0, vocabulary). With `tokens_in_step`
  // above 0, the student's logits become the gradient of the sum over rows divided by it; else they stay.
  LossSums run(float* student, const float* teacher, std::span<const TokenId> targets, std::int64_t tokens_in_step);
  LossSums run(Bf16* student, const Bf16* teacher, std::span<const TokenId> targets, std::int64_t tokens_in_step);

  // Against what is kept of the teacher, for a mix of forward KL and cross-entropy: rows `begin` and on of `signal`.
  // The sums' kl is an estimate (drawn tokens) or a lower bound (top-k and the rest), as SparseTokens says.
  LossSums run_sparse(float* student, const SparseSignal& signal, std::size_t begin, std::span<const TokenId> targets,
                      std::int64_t tokens_in_step);
  LossSums run_sparse(Bf16* student, const SparseSignal& signal, std::size_t begin, std::span<const TokenId> targets,
                      std::int64_t tokens_in_step);

  const ObjectiveMix& mix() const { return mix_; }
  std::int64_t bytes() const;  // of the scratch

 private:
  template <class T>
  LossSums run_rows(T* student, const T* teacher, std::span<const TokenId> targets, std::int64_t tokens_in_step);
  template <class T>
  LossSums run_sparse_rows(T* student, const SparseSignal& signal, std::size_t begin, std::span<const TokenId> targets,
                           std::int64_t tokens_in_step);
  // Calls one(row, scratch) for each row, on all threads, and sums what it returns in the order of the rows.
  template <class One>
  LossSums over_rows(std::size_t rows, const One& one);

  ObjectiveMix mix_;  // resolved
  bool plain_;        // forward KL and cross-entropy at temperature 1: what kl_row knows
  std::size_t vocabulary_;
  std::vector<float> scratch_;
  std::vector<RowLoss> losses_;
};

}  // namespace retort::train
