// Contiguous BF16 and FP32 tensors in the processor's memory, moved and added by this project's kernels on all threads.
//
// For numbers of one count, whatever their shapes. One thread at a time; uses libtorch's threads inside.
#pragma once

#include <ATen/core/Tensor.h>

#include "train/kernels.h"

namespace retort::train {

inline Bf16* bf16_data(const at::Tensor& tensor) { return static_cast<Bf16*>(tensor.data_ptr()); }

// Either type to either.
void copy_values(const at::Tensor& from, const at::Tensor& to);
// Either type to an FP32 sum.
void add_values(const at::Tensor& values, const at::Tensor& sum);

}  // namespace retort::train
