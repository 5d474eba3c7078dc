// The loss on the vocabulary: hidden states in, loss and gradients out.
//
// Student logits = h_s W_s^T and teacher logits = h_t W_t^T exist for `chunk_rows` rows at a time, never for a batch;
// the softmax and the sums are FP32 (sums of blocks FP64) whatever the compute type, and the gradient is written over
// the student's logits. What is minimised is an ObjectiveMix (train/objective_mix.h has the definitions), the mean over
// the step's supervised tokens. Because the divisor is that of the whole global batch, the sum over any split of it is
// the same.
//
// Rows are computed by this project's kernels (train/objective_rows.h), or by libtorch's operations where those don't
// run (train/objective_tensors.h). Buffers are allocated once and kept. One thread at a time; uses libtorch's threads.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>

#include "exchange/exchange.h"
#include "model/backend.h"
#include "train/objective_cuda.h"
#include "train/objective_mix.h"
#include "train/objective_rows.h"

namespace retort::train {

// Where a row's tokens come from; each has an objective of its own.
enum class RowSource : std::uint8_t { kData, kRollouts };

// Sees the logits of a chunk of rows, from row `begin` on, [rows, V] each and contiguous; valid during the call.
using VisitLogits = std::function<void(std::int64_t begin, const at::Tensor& student, const at::Tensor& teacher)>;

class Objective {
 public:
  // `dtype`: BFloat16 or Float, of hidden states and heads; the logits have it too.
  Objective(std::int64_t vocabulary, std::int64_t chunk_rows, at::ScalarType dtype, const ObjectiveMix& data,
            const ObjectiveMix& rollouts, model::Backend backend = model::Backend::kKernels);

  // backward() returns the rows' sums; on a CUDA device, where that would mean to wait, zeros: there the sums add up
  // until take_sums() fetches them.
  //
  // student_hidden [n, d_s], student_head [V, d_s], teacher_hidden [n, d_t], teacher_head [V, d_t], contiguous, of the
  // dtype; targets: n token ids in [0, V), one at least. Writes hidden_gradient [n, d_s] (of the dtype) and ADDS to
  // head_gradient [V, d_s] (FP32), unless that is undefined; `overwrites_head`: writes that, too. The teacher is never
  // given a gradient.
  LossSums backward(RowSource source, const at::Tensor& student_hidden, const at::Tensor& student_head,
                    const at::Tensor& teacher_hidden, const at::Tensor& teacher_head, std::span<const TokenId> targets,
                    std::int64_t tokens_in_step, at::Tensor& hidden_gradient, at::Tensor& head_gradient,
                    bool overwrites_head = false);

  // The same against what is kept of the teacher (train/objective_rows.h), row i of it for target i: no teacher is
  // read.
  LossSums backward(const at::Tensor& student_hidden, const at::Tensor& student_head, const SparseSignal& signal,
                    std::span<const TokenId> targets, std::int64_t tokens_in_step, at::Tensor& hidden_gradient,
                    at::Tensor& head_gradient, bool overwrites_head = false);

  // What backward() hasn't returned of rows of this source since it was last asked.
  LossSums take_sums(RowSource source);

  // Without gradients, and whatever the objective: forward KL and cross-entropy at temperature 1, by which runs of
  // different objectives are compared. The sums' loss is the forward KL. `visit` (may be empty) sees the logits.
  LossSums measure(const at::Tensor& student_hidden, const at::Tensor& student_head, const at::Tensor& teacher_hidden,
                   const at::Tensor& teacher_head, std::span<const TokenId> targets, const VisitLogits& visit = {});

  // On logits that are there already, [targets.size(), V] of the dtype, by what trains on data: the student's become
  // their gradient. For those who compare it with another computation.
  LossSums on_logits(at::Tensor& student, const at::Tensor& teacher, std::span<const TokenId> targets,
                     std::int64_t tokens_in_step);

  // The same against what is kept of the teacher, row i of it for target i.
  LossSums on_logits(at::Tensor& student, const SparseSignal& signal, std::span<const TokenId> targets,
                     std::int64_t tokens_in_step);

  std::int64_t bytes() const;                      // of the kept buffers
  static constexpr std::int64_t kHeadRows = 8192;  // of the head's gradient, multiplied at a time

 private:
  // One mix, on whatever computes it.
  struct Rows {
    Rows(const ObjectiveMix& mix, std::int64_t vocabulary) : objective(mix, vocabulary) {}
    ObjectiveRows objective;
    std::optional<CudaObjectiveRows> on_cuda;
    void add_late(const at::Tensor& of_rows);  // what on_cuda returned
    at::Tensor late_sums;                      // [5] FP64 on the device
    std::int64_t late_tokens = 0;
  };
  // Sums of a chunk, or zeros while they wait in `rows`. labels: of all chunks, defined where on_cuda is.
  LossSums on_logits(Rows& rows, at::Tensor& student, const at::Tensor& teacher, std::span<const TokenId> targets,
                     const at::Tensor& labels, std::int64_t tokens_in_step) const;
  LossSums on_logits(at::Tensor& student, const SparseSignal& signal, std::size_t begin,
                     std::span<const TokenId> targets, const at::Tensor& labels, std::int64_t tokens_in_step);
  LossSums chunk(Rows& rows, std::int64_t begin, std::int64_t count, const at::Tensor& student_hidden,
                 const at::Tensor& student_head, const at::Tensor& teacher_hidden, const at::Tensor& teacher_head,
                 std::span<const TokenId> targets, const at::Tensor& labels, std::int64_t tokens_in_step);
  static at::Tensor labels_for(const Rows& rows, std::span<const TokenId> targets);
  static LossSums take_sums(Rows& rows);

  // From the gradient of a chunk's logits to those of its hidden states and the head.
  void to_hidden_and_head(std::int64_t begin, std::int64_t count, const at::Tensor& student_hidden,
                          const at::Tensor& student_head, at::Tensor& hidden_gradient, at::Tensor& head_gradient,
                          bool overwrites_head);

  std::int64_t chunk_rows_;
  at::ScalarType dtype_;
  model::Backend backend_;
  Rows data_, rollouts_, measured_;
  at::Tensor student_logits_;
  at::Tensor teacher_logits_;  // undefined until there is a teacher
  at::Tensor head_product_;    // BF16 only: kHeadRows of a chunk's product before they are added in FP32
};

}  // namespace retort::train
