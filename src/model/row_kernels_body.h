// The body of the row kernels, included once for every instruction set with RETORT_KERNELS_NAMESPACE and
// RETORT_KERNELS_NAME defined. No standard library function may be used here (model/lanes.h says why).
#include "model/lanes.h"
#include "model/row_kernel_table.h"

namespace retort::model::RETORT_KERNELS_NAMESPACE {
namespace {

using namespace lanes;

// Sixteen values, or the last few of a row.
struct Whole {
  template <class T>
  RETORT_INLINE Floats get(const T* p) const {
    return load(p);
  }
  template <class T>
  RETORT_INLINE void put(T* p, const Floats& value) const {
    store(p, value);
  }
};

struct Rest {
  std::size_t count;
  template <class T>
  RETORT_INLINE Floats get(const T* p) const {
    return load_tail(p, count, 0);
  }
  template <class T>
  RETORT_INLINE void put(T* p, const Floats& value) const {
    store_tail(p, value, count);
  }
};

// body(where, Whole or Rest) along a row.
template <class Body>
RETORT_INLINE void along(std::int64_t width, const Body& body) {
  const auto n = static_cast<std::size_t>(width);
  const std::size_t whole = n / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) body(i, Whole{});
  if (whole < n) body(whole, Rest{n - whole});
}

RETORT_INLINE float sum_of(const Floats& value) {
  float result = 0;
  for (std::size_t i = 0; i < kLanes; ++i) result += value[i];
  return result;
}

// 1 / (1 + exp(-x)). exp by its series to the seventh power: relative error below 3e-7.
RETORT_INLINE Floats sigmoid(const Floats& x) {
  const Floats most = all(87.0F);
  Floats t = -x;
  t = t > most ? most : t;
  t = t < -most ? -most : t;
  const ExpParts parts = exp_parts(t);
  return 1.0F / (1.0F + times_power(exp_series(parts.r, parts.r * (1.0F / 5040.0F) + (1.0F / 720.0F)), parts.n));
}

template <class T>
void rms_norm(const T* x, const float* weight, T* y, float* scales, std::int64_t rows, std::int64_t width,
              float epsilon) {
  for (std::int64_t row = 0; row < rows; ++row, x += width, y += width) {
    Floats squares = all(0);
    along(width, [&](std::size_t i, const auto& part) {
      const Floats value = part.get(x + i);
      squares += value * value;
    });
    const float scale = 1.0F / __builtin_sqrtf(sum_of(squares) / static_cast<float>(width) + epsilon);
    scales[row] = scale;
    along(width,
          [&](std::size_t i, const auto& part) { part.put(y + i, part.get(x + i) * scale * part.get(weight + i)); });
  }
}

// With n = x r: dy/dx gives r (g w - n mean(g w n)).
template <class T>
void rms_norm_backward(const T* x, const float* weight, const float* scales, const T* y_gradient, T* x_gradient,
                       float* weight_gradient, std::int64_t rows, std::int64_t width) {
  for (std::int64_t row = 0; row < rows; ++row, x += width, y_gradient += width, x_gradient += width) {
    const float scale = scales[row];
    Floats dots = all(0);
    along(width, [&](std::size_t i, const auto& part) {
      dots += part.get(y_gradient + i) * part.get(weight + i) * part.get(x + i);
    });
    const float factor = sum_of(dots) * scale * scale * scale / static_cast<float>(width);
    along(width, [&](std::size_t i, const auto& part) {
      const Floats value = part.get(x + i);
      const Floats gradient = part.get(y_gradient + i);
      part.put(weight_gradient + i, part.get(weight_gradient + i) + gradient * value * scale);
      part.put(x_gradient + i, part.get(x_gradient + i) + gradient * part.get(weight + i) * scale - value * factor);
    });
  }
}

template <class T>
void add_values(T* x, const float* values, std::int64_t rows, std::int64_t width) {
  for (std::int64_t row = 0; row < rows; ++row, x += width) {
    along(width, [&](std::size_t i, const auto& part) { part.put(x + i, part.get(x + i) + part.get(values + i)); });
  }
}

template <class T>
void sum(const T* x, float* sums, std::int64_t rows, std::int64_t width) {
  for (std::int64_t row = 0; row < rows; ++row, x += width) {
    along(width, [&](std::size_t i, const auto& part) { part.put(sums + i, part.get(sums + i) + part.get(x + i)); });
  }
}

template <class T>
void rotate(T* x, std::int64_t stride, const float* cosine, const float* sine, std::int64_t rows, std::int64_t heads,
            std::int64_t head_dim, float sign) {
  const std::int64_t half = head_dim / 2;
  for (std::int64_t row = 0; row < rows; ++row, x += stride, cosine += half, sine += half) {
    for (std::int64_t head = 0; head < heads; ++head) {
      T* first = x + head * head_dim;
      T* second = first + half;
      along(half, [&](std::size_t i, const auto& part) {
        const Floats a = part.get(first + i);
        const Floats b = part.get(second + i);
        const Floats c = part.get(cosine + i);
        const Floats s = part.get(sine + i) * sign;
        part.put(first + i, a * c - b * s);
        part.put(second + i, b * c + a * s);
      });
    }
  }
}

template <class T>
void swiglu(const T* gate_up, T* y, std::int64_t rows, std::int64_t width) {
  for (std::int64_t row = 0; row < rows; ++row, gate_up += 2 * width, y += width) {
    const T* up = gate_up + width;
    along(width, [&](std::size_t i, const auto& part) {
      const Floats g = part.get(gate_up + i);
      part.put(y + i, g * sigmoid(g) * part.get(up + i));
    });
  }
}

template <class T>
void swiglu_backward(T* gate_up, const T* y_gradient, std::int64_t rows, std::int64_t width) {
  for (std::int64_t row = 0; row < rows; ++row, gate_up += 2 * width, y_gradient += width) {
    T* up = gate_up + width;
    along(width, [&](std::size_t i, const auto& part) {
      const Floats g = part.get(gate_up + i);
      const Floats u = part.get(up + i);
      const Floats d = part.get(y_gradient + i);
      const Floats s = sigmoid(g);
      part.put(gate_up + i, d * u * s * (1.0F + g * (1.0F - s)));
      part.put(up + i, d * g * s);
    });
  }
}

template <class T>
constexpr RowKernelsOf<T> kernels_of() {
  return {rms_norm<T>, rms_norm_backward<T>, add_values<T>, sum<T>, rotate<T>, swiglu<T>, swiglu_backward<T>};
}

}  // namespace

extern const RowKernelTable kRowKernels;
const RowKernelTable kRowKernels = {RETORT_KERNELS_NAME, kernels_of<float>(), kernels_of<std::uint16_t>()};

}  // namespace retort::model::RETORT_KERNELS_NAMESPACE
