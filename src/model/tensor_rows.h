// The memory of a tensor as rows of plain values, for the hand-written kernels.
//
// T must be what the tensor holds: float for FP32, Bf16 for BF16.
#pragma once

#include <torch/types.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

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

// Row `row` of a contiguous [rows, width] tensor as FP32; `scratch` holds it where it isn't.
inline std::span<const float> floats_of_row(const torch::Tensor& rows, std::size_t row, std::vector<float>& scratch) {
  const auto width = static_cast<std::size_t>(rows.size(1));
  if (rows.scalar_type() == torch::kFloat32) return {values_of<float>(rows) + row * width, width};
  const Bf16* values = values_of<Bf16>(rows) + row * width;
  scratch.resize(width);
  for (std::size_t i = 0; i < width; ++i) {
    scratch[i] = std::bit_cast<float>(static_cast<std::uint32_t>(values[i].bits) << 16U);
  }
  return scratch;
}

}  // namespace retort::model
