// An objective over rows of logits by libtorch's own operations: what train/objective_rows.h does, on any device.
//
// The same definitions (train/objective_mix.h) and the same gradients, written over the student's logits; FP32 inside,
// sums of rows FP64. Slower than the kernels on a processor, and equal to them to rounding (tested there). Any thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "train/objective_mix.h"
#include "train/objective_rows.h"

namespace retort::train {

// student, teacher: [targets.size(), vocabulary], on one device; `mix` passes check(). As ObjectiveRows::run().
LossSums rows_by_tensors(const ObjectiveMix& mix, at::Tensor& student, const at::Tensor& teacher,
                         std::span<const TokenId> targets, std::int64_t tokens_in_step);

// As ObjectiveRows::run_sparse().
LossSums sparse_rows_by_tensors(const ObjectiveMix& mix, at::Tensor& student, const SparseSignal& signal,
                                std::size_t begin, std::span<const TokenId> targets, std::int64_t tokens_in_step);

}  // namespace retort::train
