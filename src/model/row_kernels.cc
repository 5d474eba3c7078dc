#include "model/row_kernels.h"

#include "model/instruction_set.h"
#include "model/row_kernel_table.h"

namespace retort::model {

namespace rows_plain {
extern const RowKernelTable kRowKernels;
}
namespace rows_avx2 {
extern const RowKernelTable kRowKernels;
}
namespace rows_avx512 {
extern const RowKernelTable kRowKernels;
}

std::size_t row_kernel_variants(const RowKernelTable* variants[3]) {
  return variants_that_run(rows_plain::kRowKernels, rows_avx2::kRowKernels, rows_avx512::kRowKernels, variants);
}

const RowKernelTable& row_kernels() {
  static const RowKernelTable* const best = [] {
    const RowKernelTable* variants[3] = {};
    return variants[row_kernel_variants(variants) - 1];
  }();
  return *best;
}

namespace {

float* values(float* rows) { return rows; }
const float* values(const float* rows) { return rows; }
std::uint16_t* values(Bf16* rows) { return &rows->bits; }
const std::uint16_t* values(const Bf16* rows) { return &rows->bits; }

const RowKernelsOf<float>& kernels_for(const float* /*rows*/) { return row_kernels().f32; }
const RowKernelsOf<std::uint16_t>& kernels_for(const Bf16* /*rows*/) { return row_kernels().bf16; }

}  // namespace

template <class T>
void rms_norm_rows(const T* x, const float* weight, T* y, float* scales, std::int64_t rows, std::int64_t width,
                   float epsilon) {
  kernels_for(x).rms_norm(values(x), weight, values(y), scales, rows, width, epsilon);
}

template <class T>
void rms_norm_rows_backward(const T* x, const float* weight, const float* scales, const T* y_gradient, T* x_gradient,
                            float* weight_gradient, std::int64_t rows, std::int64_t width) {
  kernels_for(x).rms_norm_backward(values(x), weight, scales, values(y_gradient), values(x_gradient), weight_gradient,
                                   rows, width);
}

template <class T>
void add_to_rows(T* x, const float* added, std::int64_t rows, std::int64_t width) {
  kernels_for(x).add(values(x), added, rows, width);
}

template <class T>
void sum_rows(const T* x, float* sums, std::int64_t rows, std::int64_t width) {
  kernels_for(x).sum(values(x), sums, rows, width);
}

template <class T>
void rotate_rows(T* x, std::int64_t stride, const float* cosine, const float* sine, std::int64_t rows,
                 std::int64_t heads, std::int64_t head_dim, float sign) {
  kernels_for(x).rotate(values(x), stride, cosine, sine, rows, heads, head_dim, sign);
}

template <class T>
void swiglu_rows(const T* gate_up, T* y, std::int64_t rows, std::int64_t width) {
  kernels_for(gate_up).swiglu(values(gate_up), values(y), rows, width);
}

template <class T>
void swiglu_rows_backward(T* gate_up, const T* y_gradient, std::int64_t rows, std::int64_t width) {
  kernels_for(gate_up).swiglu_backward(values(gate_up), values(y_gradient), rows, width);
}

#define RETORT_ROWS_OF(T)                                                                                              \
  template void rms_norm_rows<T>(const T*, const float*, T*, float*, std::int64_t, std::int64_t, float);               \
  template void rms_norm_rows_backward<T>(const T*, const float*, const float*, const T*, T*, float*, std::int64_t,    \
                                          std::int64_t);                                                               \
  template void add_to_rows<T>(T*, const float*, std::int64_t, std::int64_t);                                          \
  template void sum_rows<T>(const T*, float*, std::int64_t, std::int64_t);                                             \
  template void rotate_rows<T>(T*, std::int64_t, const float*, const float*, std::int64_t, std::int64_t, std::int64_t, \
                               float);                                                                                 \
  template void swiglu_rows<T>(const T*, T*, std::int64_t, std::int64_t);                                              \
  template void swiglu_rows_backward<T>(T*, const T*, std::int64_t, std::int64_t);

RETORT_ROWS_OF(float)
RETORT_ROWS_OF(Bf16)
#undef RETORT_ROWS_OF

}  // namespace retort::model
