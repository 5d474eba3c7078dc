// An objective over rows of logits in a CUDA device's memory: what train/objective_rows.h does there, by kernels of our
// own (train/objective_rows.cu).
//
// Compiled for one mix and one type of logits, in about half a second, on the device at hand. The definitions are those
// of train/objective_mix.h; FP32 inside. Everything is asked of the default stream and returns before it is done. One
// thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "base/error.h"
#include "model/cuda_program.h"
#include "train/objective_mix.h"
#include "train/objective_rows.h"

namespace retort::train {

class CudaObjectiveRows {
 public:
  // `mix` passes check(); `dtype`: BFloat16 or Float. After model::open_cuda(). Error: as CudaProgram::compile().
  static Result<CudaObjectiveRows> make(const ObjectiveMix& mix, at::ScalarType dtype);

  // Targets as the kernels read them, [n] int32 on the device.
  static at::Tensor labels(std::span<const TokenId> targets);

  // student, teacher: [n, vocabulary], contiguous; labels [n]. As ObjectiveRows::run(). Returns what the rows add to
  // the sums, [n, 5] FP64 on the device: for to_sums().
  at::Tensor run(at::Tensor& student, const at::Tensor& teacher, const at::Tensor& labels,
                 std::int64_t tokens_in_step) const;
  // As ObjectiveRows::run_sparse().
  at::Tensor run_sparse(at::Tensor& student, const SparseSignal& signal, std::size_t begin, const at::Tensor& labels,
                        std::int64_t tokens_in_step) const;

  // From the sum of such rows, [5]; waits for the device.
  LossSums to_sums(const at::Tensor& summed, std::int64_t tokens) const;

 private:
  CudaObjectiveRows(model::CudaProgram program, const ObjectiveMix& mix);
  struct Mix;
  Mix arguments(std::int64_t tokens_in_step) const;

  model::CudaProgram program_;
  void* objective_rows_ = nullptr;
  void* kept_rows_ = nullptr;
  ObjectiveMix mix_;  // resolved
};

}  // namespace retort::train
