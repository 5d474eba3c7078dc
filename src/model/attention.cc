#include "model/attention.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <type_traits>
#include <vector>

#include "model/attention_kernels.h"
#include "model/tensor_rows.h"

namespace retort::model {

namespace {

using Segment = Decoder::Layout::Segment;

bool covers_all(std::span<const Segment> segments, std::int64_t rows) {
  std::int64_t covered = 0;
  for (const auto& segment : segments) covered += segment.end - segment.begin;
  return covered == rows;
}

AttentionUnit unit_of(const BlockShape& shape, const Segment& segment, std::int64_t rows) {
  AttentionUnit unit;
  unit.length = static_cast<std::size_t>(segment.end - segment.begin);
  unit.heads = static_cast<std::size_t>(shape.heads / shape.kv_heads);
  unit.head_dim = static_cast<std::size_t>(shape.head_dim);
  unit.window = static_cast<std::size_t>(shape.window);
  unit.stride = static_cast<std::size_t>(shape.projection_width());
  unit.attended_stride = static_cast<std::size_t>(shape.query_width());
  unit.log_sum_stride = static_cast<std::size_t>(rows);
  unit.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.head_dim)));
  return unit;
}

// The first values of one unit in rows of projections, of attended, and in the log sums.
struct Places {
  std::int64_t query, key, value, attended, log_sum;
  Places(const BlockShape& shape, const Segment& segment, std::int64_t kv_head, std::int64_t rows) {
    const std::int64_t group = shape.heads / shape.kv_heads;
    const std::int64_t row = segment.begin * shape.projection_width();
    query = row + kv_head * group * shape.head_dim;
    key = row + (shape.heads + kv_head) * shape.head_dim;
    value = key + shape.kv_heads * shape.head_dim;
    attended = segment.begin * shape.query_width() + kv_head * group * shape.head_dim;
    log_sum = kv_head * group * rows + segment.begin;
  }
};

// Calls f(segment, kv_head, scratch) for each, on all threads; the longest documents first, so that no thread is left
// with one at the end. Every unit writes to places of its own.
template <class F>
void for_each_unit(const BlockShape& shape, std::span<const Segment> segments, bool backward, const F& f) {
  std::vector<Segment> order(segments.begin(), segments.end());
  std::stable_sort(order.begin(), order.end(),
                   [](const Segment& a, const Segment& b) { return a.end - a.begin > b.end - b.begin; });
  if (order.empty()) return;
  const std::size_t scratch_size = attention_scratch(static_cast<std::size_t>(order.front().end - order.front().begin),
                                                     static_cast<std::size_t>(shape.head_dim), backward);
  const auto units = static_cast<std::int64_t>(order.size()) * shape.kv_heads;
  std::atomic<std::int64_t> next = 0;
  const std::int64_t threads = std::min<std::int64_t>(at::get_num_threads(), units);
  at::parallel_for(0, threads, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t thread = first; thread < last; ++thread) {
      std::vector<float> scratch(scratch_size);
      for (std::int64_t unit = next++; unit < units; unit = next++) {
        f(order[static_cast<std::size_t>(unit / shape.kv_heads)], unit % shape.kv_heads, scratch.data());
      }
    }
  });
}

template <class T>
void attend_rows(const torch::Tensor& projections, const BlockShape& shape, std::span<const Segment> segments,
                 torch::Tensor& attended, float* log_sums) {
  const std::int64_t rows = projections.size(0);
  const T* from = values_of<T>(projections);
  T* to = values_of<T>(attended);
  const AttentionKernels& kernels = attention_kernels();
  for_each_unit(shape, segments, false, [&](const Segment& segment, std::int64_t kv_head, float* scratch) {
    const Places at(shape, segment, kv_head, rows);
    const AttentionForward<T> unit_rows = {from + at.query, from + at.key, from + at.value, to + at.attended,
                                           log_sums == nullptr ? nullptr : log_sums + at.log_sum};
    const AttentionUnit unit = unit_of(shape, segment, rows);
    if constexpr (std::is_same_v<T, float>) {
      kernels.forward_f32(unit, unit_rows, scratch);
    } else {
      kernels.forward_bf16(unit, unit_rows, scratch);
    }
  });
}

template <class T>
void attend_rows_backward(const torch::Tensor& attended_gradient, const torch::Tensor& projections,
                          const torch::Tensor& attended, const torch::Tensor& log_sums, const BlockShape& shape,
                          std::span<const Segment> segments, torch::Tensor& gradient) {
  const std::int64_t rows = projections.size(0);
  const T* from = values_of<T>(projections);
  const T* output = values_of<T>(attended);
  const T* incoming = values_of<T>(attended_gradient);
  const float* sums = log_sums.const_data_ptr<float>();
  T* to = values_of<T>(gradient);
  const AttentionKernels& kernels = attention_kernels();
  for_each_unit(shape, segments, true, [&](const Segment& segment, std::int64_t kv_head, float* scratch) {
    const Places at(shape, segment, kv_head, rows);
    const AttentionBackward<T> unit_rows = {
        from + at.query,   from + at.key, from + at.value, output + at.attended, incoming + at.attended,
        sums + at.log_sum, to + at.query, to + at.key,     to + at.value};
    const AttentionUnit unit = unit_of(shape, segment, rows);
    if constexpr (std::is_same_v<T, float>) {
      kernels.backward_f32(unit, unit_rows, scratch);
    } else {
      kernels.backward_bf16(unit, unit_rows, scratch);
    }
  });
}

}  // namespace

void attend(const torch::Tensor& projections, const BlockShape& shape, std::span<const Segment> segments,
            torch::Tensor& attended, torch::Tensor* log_sums) {
  if (!covers_all(segments, projections.size(0))) attended.zero_();
  float* sums = nullptr;
  if (log_sums != nullptr) {
    *log_sums = torch::empty({shape.heads, projections.size(0)}, torch::kFloat32);
    sums = log_sums->data_ptr<float>();
  }
  if (projections.scalar_type() == torch::kBFloat16) {
    attend_rows<Bf16>(projections, shape, segments, attended, sums);
  } else {
    attend_rows<float>(projections, shape, segments, attended, sums);
  }
}

torch::Tensor attend_backward(const torch::Tensor& attended_gradient, const torch::Tensor& projections,
                              const torch::Tensor& attended, const torch::Tensor& log_sums, const BlockShape& shape,
                              std::span<const Segment> segments) {
  torch::Tensor gradient =
      covers_all(segments, projections.size(0)) ? torch::empty_like(projections) : torch::zeros_like(projections);
  if (projections.scalar_type() == torch::kBFloat16) {
    attend_rows_backward<Bf16>(attended_gradient, projections, attended, log_sums, shape, segments, gradient);
  } else {
    attend_rows_backward<float>(attended_gradient, projections, attended, log_sums, shape, segments, gradient);
  }
  return gradient;
}

}  // namespace retort::model
