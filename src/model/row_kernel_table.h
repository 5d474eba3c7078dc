// The row kernels of one instruction set. Pure; any thread. What each does: model/row_kernels.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace retort::model {

// T: float, or uint16 for the bits of BF16.
template <class T>
struct RowKernelsOf {
  void (*rms_norm)(const T* x, const float* weight, T* y, float* scales, std::int64_t rows, std::int64_t width,
                   float epsilon);
  void (*rms_norm_backward)(const T* x, const float* weight, const float* scales, const T* y_gradient, T* x_gradient,
                            float* weight_gradient, std::int64_t rows, std::int64_t width);
  void (*add)(T* x, const float* values, std::int64_t rows, std::int64_t width);
  void (*sum)(const T* x, float* sums, std::int64_t rows, std::int64_t width);
  void (*rotate)(T* x, std::int64_t stride, const float* cosine, const float* sine, std::int64_t rows,
                 std::int64_t heads, std::int64_t head_dim, float sign);
  void (*swiglu)(const T* gate_up, T* y, std::int64_t rows, std::int64_t width);
  void (*swiglu_backward)(T* gate_up, const T* y_gradient, std::int64_t rows, std::int64_t width);
};

struct RowKernelTable {
  const char* name;
  RowKernelsOf<float> f32;
  RowKernelsOf<std::uint16_t> bf16;
};

// The best that the processor runs.
const RowKernelTable& row_kernels();
// Every variant that it runs, the plain one first: for tests.
std::size_t row_kernel_variants(const RowKernelTable* variants[3]);

}  // namespace retort::model
