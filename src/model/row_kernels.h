// The element-wise parts of a decoder block on rows of plain memory: RMSNorm, biases, rotation, SwiGLU, and their
// gradients.
//
// Between two matrix products nothing here touches memory more often than it must: that is what makes them worth
// writing. Rows are contiguous unless a stride is given (in values). Arithmetic is FP32 whatever the rows are stored
// in; sums run in 16 lanes, so that results don't depend on the processor's vector width. Compiled for several
// instruction sets, chosen when the program starts. Pure; any thread; callers split the rows over threads.
#pragma once

#include <cstdint>

namespace retort::model {

// The upper half of an IEEE float; rounded to nearest, ties to even.
struct Bf16 {
  std::uint16_t bits;
};

// y = x * r * weight, r = 1 / sqrt(mean(x^2) + epsilon) (arXiv 1910.07467). `scales` receives r of each row.
template <class T>
void rms_norm_rows(const T* x, const float* weight, T* y, float* scales, std::int64_t rows, std::int64_t width,
                   float epsilon);

// Adds the gradient through the norm to `x_gradient`, and weight's own gradient to `weight_gradient`.
template <class T>
void rms_norm_rows_backward(const T* x, const float* weight, const float* scales, const T* y_gradient, T* x_gradient,
                            float* weight_gradient, std::int64_t rows, std::int64_t width);

// Adds `added` to every row; adds every row to `sums`.
template <class T>
void add_to_rows(T* x, const float* added, std::int64_t rows, std::int64_t width);
template <class T>
void sum_rows(const T* x, float* sums, std::int64_t rows, std::int64_t width);

// Rotates `heads` heads at the start of each row in place, half-split: (a, b) -> (a c - b s, b c + a s) for
// a = row[i], b = row[i + head_dim / 2]. cosine, sine: [rows, head_dim / 2]. sign -1 rotates back.
template <class T>
void rotate_rows(T* x, std::int64_t stride, const float* cosine, const float* sine, std::int64_t rows,
                 std::int64_t heads, std::int64_t head_dim, float sign);

// y = silu(gate) * up (arXiv 2002.05202); a row of `gate_up` is gate, then up, `width` values each.
template <class T>
void swiglu_rows(const T* gate_up, T* y, std::int64_t rows, std::int64_t width);

// Writes the gradient of gate and up over their values.
template <class T>
void swiglu_rows_backward(T* gate_up, const T* y_gradient, std::int64_t rows, std::int64_t width);

}  // namespace retort::model
