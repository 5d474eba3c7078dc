// The loss on the vocabulary: hidden states in, loss and gradients out.
//
// Student logits = h_s W_s^T and teacher logits = h_t W_t^T exist for `chunk_rows` rows at a time; the softmax and the
// sums are FP32 (sums of blocks FP64) whatever the compute type, and the gradient is written over the student's logits:
//   loss = (1 - w) KL(p_teacher || p_student) + w (-log p_student(target)), averaged over the step's supervised tokens
//   d loss / d logits = (p_student - (1 - w) p_teacher - w onehot(target)) / tokens_in_step
// Because the divisor is that of the whole global batch, the sum over any split of it is the same.
//
// Buffers are allocated once and kept. One thread at a time; uses libtorch's threads inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "exchange/exchange.h"

namespace retort::train {

struct LossSums {
  double kl = 0;             // nats, summed over rows
  double cross_entropy = 0;  // nats, summed over rows
  std::int64_t tokens = 0;

  LossSums& operator+=(const LossSums& other);
};

class ForwardKl {
 public:
  // `dtype`: BFloat16 or Float, of hidden states and heads; the logits have it too.
  ForwardKl(std::int64_t vocabulary, std::int64_t chunk_rows, at::ScalarType dtype, double cross_entropy_weight);

  // student_hidden [n, d_s], student_head [V, d_s], teacher_hidden [n, d_t], teacher_head [V, d_t], contiguous, of the
  // dtype; targets: n token ids in [0, V). Writes hidden_gradient [n, d_s] (of the dtype) and ADDS to head_gradient
  // [V, d_s] (FP32), unless that is undefined. The teacher is never given a gradient.
  LossSums backward(const at::Tensor& student_hidden, const at::Tensor& student_head, const at::Tensor& teacher_hidden,
                    const at::Tensor& teacher_head, std::span<const TokenId> targets, std::int64_t tokens_in_step,
                    at::Tensor& hidden_gradient, at::Tensor& head_gradient);

  // The same sums without gradients.
  LossSums measure(const at::Tensor& student_hidden, const at::Tensor& student_head, const at::Tensor& teacher_hidden,
                   const at::Tensor& teacher_head, std::span<const TokenId> targets);

  std::int64_t bytes() const;  // of the kept buffers

 private:
  LossSums rows(std::int64_t begin, std::int64_t count, const at::Tensor& student_hidden,
                const at::Tensor& student_head, const at::Tensor& teacher_hidden, const at::Tensor& teacher_head,
                std::span<const TokenId> targets, double scale, bool gradient);

  std::int64_t vocabulary_;
  std::int64_t chunk_rows_;
  at::ScalarType dtype_;
  double cross_entropy_weight_;
  at::Tensor student_logits_;
  at::Tensor teacher_logits_;
  at::Tensor head_product_;  // BF16 only: one chunk's product before it is added in FP32
  std::vector<float> scratch_;
  std::vector<double> row_kl_;
  std::vector<double> row_cross_entropy_;
};

}  // namespace retort::train
