#include "model/row_kernels.h"

#include <cmath>
#include <cstring>

// One function body, compiled for each instruction set; the loader picks.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define RETORT_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define RETORT_CLONES
#endif
#define RETORT_INLINE inline __attribute__((always_inline))

namespace retort::model {

namespace {

constexpr std::int64_t kLanes = 16;

RETORT_INLINE float get(float value) { return value; }
RETORT_INLINE float get(Bf16 value) {
  const std::uint32_t word = static_cast<std::uint32_t>(value.bits) << 16U;
  float result;
  __builtin_memcpy(&result, &word, sizeof(result));
  return result;
}
RETORT_INLINE void put(float& target, float value) { target = value; }
RETORT_INLINE void put(Bf16& target, float value) {
  std::uint32_t word;
  __builtin_memcpy(&word, &value, sizeof(word));
  target.bits = static_cast<std::uint16_t>((word + 0x7FFFU + ((word >> 16U) & 1U)) >> 16U);
}

// 1 / (1 + exp(-x)). exp by n ln 2 + r and the series of exp(r) to the seventh power: relative error below 3e-7.
RETORT_INLINE float sigmoid(float x) {
  float t = -x;
  t = t > 87.0F ? 87.0F : t;
  t = t < -87.0F ? -87.0F : t;
  const float shifted = t * 1.44269504F + 12582912.0F;  // 1.5 * 2^23: the nearest integer lands in the low bits
  const float n = shifted - 12582912.0F;
  const float r = (t - n * 0.693145752F) - n * 1.42860677e-6F;
  float y = r * (1.0F / 5040.0F) + (1.0F / 720.0F);
  y = y * r + (1.0F / 120.0F);
  y = y * r + (1.0F / 24.0F);
  y = y * r + (1.0F / 6.0F);
  y = y * r + 0.5F;
  y = y * r + 1.0F;
  y = y * r + 1.0F;
  std::uint32_t exponent;
  __builtin_memcpy(&exponent, &shifted, sizeof(exponent));
  std::uint32_t bits;
  __builtin_memcpy(&bits, &y, sizeof(bits));
  bits += exponent << 23U;
  __builtin_memcpy(&y, &bits, sizeof(y));
  return 1.0F / (1.0F + y);
}

// sum over i of term(i), in 16 lanes.
template <class Term>
RETORT_INLINE float lane_sum(std::int64_t count, const Term& term) {
  float lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += term(i + lane);
  }
  for (std::int64_t lane = 0; i + lane < count; ++lane) lanes[lane] += term(i + lane);
  float total = 0;
  for (const float lane : lanes) total += lane;
  return total;
}

template <class T>
RETORT_INLINE void rms_norm(const T* x, const float* weight, T* y, float* scales, std::int64_t rows, std::int64_t width,
                            float epsilon) {
  for (std::int64_t row = 0; row < rows; ++row, x += width, y += width) {
    const T* in = x;
    const float squares = lane_sum(
        width, [in](std::int64_t i) __attribute__((always_inline)) {
          const float value = get(in[i]);
          return value * value;
        });
    const float scale = 1.0F / __builtin_sqrtf(squares / static_cast<float>(width) + epsilon);
    scales[row] = scale;
    for (std::int64_t i = 0; i < width; ++i) put(y[i], get(x[i]) * scale * weight[i]);
  }
}

// With n = x r: dy/dx gives r (g w - n mean(g w n)).
template <class T>
RETORT_INLINE void rms_norm_backward(const T* x, const float* weight, const float* scales, const T* y_gradient,
                                     T* x_gradient, float* weight_gradient, std::int64_t rows, std::int64_t width) {
  for (std::int64_t row = 0; row < rows; ++row, x += width, y_gradient += width, x_gradient += width) {
    const T* in = x;
    const T* out = y_gradient;
    const float scale = scales[row];
    const float dot = lane_sum(
        width, [ in, out, weight ](std::int64_t i)
                   __attribute__((always_inline)) { return get(out[i]) * weight[i] * get(in[i]); });
    const float factor = dot * scale * scale * scale / static_cast<float>(width);
    for (std::int64_t i = 0; i < width; ++i) {
      const float value = get(x[i]);
      const float gradient = get(y_gradient[i]);
      weight_gradient[i] += gradient * value * scale;
      put(x_gradient[i], get(x_gradient[i]) + gradient * weight[i] * scale - value * factor);
    }
  }
}

template <class T>
RETORT_INLINE void add_values(T* x, const float* values, std::int64_t rows, std::int64_t width) {
  for (std::int64_t row = 0; row < rows; ++row, x += width) {
    for (std::int64_t i = 0; i < width; ++i) put(x[i], get(x[i]) + values[i]);
  }
}

template <class T>
RETORT_INLINE void sum(const T* x, float* sums, std::int64_t rows, std::int64_t width) {
  for (std::int64_t row = 0; row < rows; ++row, x += width) {
    for (std::int64_t i = 0; i < width; ++i) sums[i] += get(x[i]);
  }
}

template <class T>
RETORT_INLINE void rotate(T* x, std::int64_t stride, const float* cosine, const float* sine, std::int64_t rows,
                          std::int64_t heads, std::int64_t head_dim, float sign) {
  const std::int64_t half = head_dim / 2;
  for (std::int64_t row = 0; row < rows; ++row, x += stride, cosine += half, sine += half) {
    for (std::int64_t head = 0; head < heads; ++head) {
      T* __restrict first = x + head * head_dim;
      T* __restrict second = first + half;
      for (std::int64_t i = 0; i < half; ++i) {
        const float a = get(first[i]);
        const float b = get(second[i]);
        const float s = sign * sine[i];
        put(first[i], a * cosine[i] - b * s);
        put(second[i], b * cosine[i] + a * s);
      }
    }
  }
}

template <class T>
RETORT_INLINE void swiglu(const T* gate_up, T* __restrict y, std::int64_t rows, std::int64_t width) {
  for (std::int64_t row = 0; row < rows; ++row, gate_up += 2 * width, y += width) {
    const T* gate = gate_up;
    const T* up = gate_up + width;
    for (std::int64_t i = 0; i < width; ++i) {
      const float g = get(gate[i]);
      put(y[i], g * sigmoid(g) * get(up[i]));
    }
  }
}

template <class T>
RETORT_INLINE void swiglu_backward(T* gate_up, const T* y_gradient, std::int64_t rows, std::int64_t width) {
  for (std::int64_t row = 0; row < rows; ++row, gate_up += 2 * width, y_gradient += width) {
    T* __restrict gate = gate_up;
    T* __restrict up = gate_up + width;
    for (std::int64_t i = 0; i < width; ++i) {
      const float g = get(gate[i]);
      const float u = get(up[i]);
      const float d = get(y_gradient[i]);
      const float s = sigmoid(g);
      put(gate[i], d * u * s * (1.0F + g * (1.0F - s)));
      put(up[i], d * g * s);
    }
  }
}

// target_clones does not go with templates: the clones are plain functions, one for each type.
#define RETORT_ROW_KERNELS(T, SUFFIX)                                                                            \
  RETORT_CLONES void rms_norm_##SUFFIX(const T* x, const float* weight, T* y, float* scales, std::int64_t rows,  \
                                       std::int64_t width, float epsilon) {                                      \
    rms_norm(x, weight, y, scales, rows, width, epsilon);                                                        \
  }                                                                                                              \
  RETORT_CLONES void rms_norm_backward_##SUFFIX(const T* x, const float* weight, const float* scales,            \
                                                const T* y_gradient, T* x_gradient, float* weight_gradient,      \
                                                std::int64_t rows, std::int64_t width) {                         \
    rms_norm_backward(x, weight, scales, y_gradient, x_gradient, weight_gradient, rows, width);                  \
  }                                                                                                              \
  RETORT_CLONES void add_values_##SUFFIX(T* x, const float* values, std::int64_t rows, std::int64_t width) {     \
    add_values(x, values, rows, width);                                                                          \
  }                                                                                                              \
  RETORT_CLONES void sum_##SUFFIX(const T* x, float* sums, std::int64_t rows, std::int64_t width) {              \
    sum(x, sums, rows, width);                                                                                   \
  }                                                                                                              \
  RETORT_CLONES void rotate_##SUFFIX(T* x, std::int64_t stride, const float* cosine, const float* sine,          \
                                     std::int64_t rows, std::int64_t heads, std::int64_t head_dim, float sign) { \
    rotate(x, stride, cosine, sine, rows, heads, head_dim, sign);                                                \
  }                                                                                                              \
  RETORT_CLONES void swiglu_##SUFFIX(const T* gate_up, T* y, std::int64_t rows, std::int64_t width) {            \
    swiglu(gate_up, y, rows, width);                                                                             \
  }                                                                                                              \
  RETORT_CLONES void swiglu_backward_##SUFFIX(T* gate_up, const T* y_gradient, std::int64_t rows,                \
                                              std::int64_t width) {                                              \
    swiglu_backward(gate_up, y_gradient, rows, width);                                                           \
  }

RETORT_ROW_KERNELS(float, f32)
RETORT_ROW_KERNELS(Bf16, bf16)
#undef RETORT_ROW_KERNELS

}  // namespace

#define RETORT_DISPATCH(T, SUFFIX)                                                                                   \
  template <>                                                                                                        \
  void rms_norm_rows<T>(const T* x, const float* weight, T* y, float* scales, std::int64_t rows, std::int64_t width, \
                        float epsilon) {                                                                             \
    rms_norm_##SUFFIX(x, weight, y, scales, rows, width, epsilon);                                                   \
  }                                                                                                                  \
  template <>                                                                                                        \
  void rms_norm_rows_backward<T>(const T* x, const float* weight, const float* scales, const T* y_gradient,          \
                                 T* x_gradient, float* weight_gradient, std::int64_t rows, std::int64_t width) {     \
    rms_norm_backward_##SUFFIX(x, weight, scales, y_gradient, x_gradient, weight_gradient, rows, width);             \
  }                                                                                                                  \
  template <>                                                                                                        \
  void add_to_rows<T>(T * x, const float* values, std::int64_t rows, std::int64_t width) {                           \
    add_values_##SUFFIX(x, values, rows, width);                                                                     \
  }                                                                                                                  \
  template <>                                                                                                        \
  void sum_rows<T>(const T* x, float* sums, std::int64_t rows, std::int64_t width) {                                 \
    sum_##SUFFIX(x, sums, rows, width);                                                                              \
  }                                                                                                                  \
  template <>                                                                                                        \
  void rotate_rows<T>(T * x, std::int64_t stride, const float* cosine, const float* sine, std::int64_t rows,         \
                      std::int64_t heads, std::int64_t head_dim, float sign) {                                       \
    rotate_##SUFFIX(x, stride, cosine, sine, rows, heads, head_dim, sign);                                           \
  }                                                                                                                  \
  template <>                                                                                                        \
  void swiglu_rows<T>(const T* gate_up, T* y, std::int64_t rows, std::int64_t width) {                               \
    swiglu_##SUFFIX(gate_up, y, rows, width);                                                                        \
  }                                                                                                                  \
  template <>                                                                                                        \
  void swiglu_rows_backward<T>(T * gate_up, const T* y_gradient, std::int64_t rows, std::int64_t width) {            \
    swiglu_backward_##SUFFIX(gate_up, y_gradient, rows, width);                                                      \
  }

RETORT_DISPATCH(float, f32)
RETORT_DISPATCH(Bf16, bf16)
#undef RETORT_DISPATCH

}  // namespace retort::model
