// The memory of a tensor as rows of plain values, for the hand-written kernels.
//
// T must be what the tensor holds: float for FP32, Bf16 for BF16.
#pragma once

#include <torch/types.h>

#include <type_traits>

#include "model/row_kernels.h"

namespace retort::model {

template <class T>
T* values_of(torch::Tensor& tensor) {
  if constexpr (std::is_same_v<T, float>) {
    return tensor.data_ptr<float>();
  } else {
    return reinterpret_cast<T*>(tensor.data_ptr<at::BFloat16>());
  }
}

template <class T>
const T* values_of(const torch::Tensor& tensor) {
  if constexpr (std::is_same_v<T, float>) {
    return tensor.const_data_ptr<float>();
  } else {
    return reinterpret_cast<const T*>(tensor.const_data_ptr<at::BFloat16>());
  }
}

}  // namespace retort::model
