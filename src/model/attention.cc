#include "model/attention.h"

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <optional>
#include <type_traits>
#include <vector>

#include "model/attention_kernels.h"
#include "model/parallel.h"
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
  parallel_for(0, threads, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t thread = first; thread < last; ++thread) {
      std::vector<float> scratch(scratch_size);
      for (std::int64_t unit = next++; unit < units; unit = next++) {
        f(order[static_cast<std::size_t>(unit / shape.kv_heads)], unit % shape.kv_heads, scratch.data());
      }
    }
  });
}

// Queries, keys and values of flash attention, [n, heads of each, head_dim], as views.
struct Heads {
  torch::Tensor query, key, value;
};

Heads heads_of(const torch::Tensor& projections, const BlockShape& shape) {
  const auto part = [&](std::int64_t first, std::int64_t heads) {
    return projections.narrow(1, first * shape.head_dim, heads * shape.head_dim)
        .view({projections.size(0), heads, shape.head_dim});
  };
  return {part(0, shape.heads), part(shape.heads, shape.kv_heads), part(shape.heads + shape.kv_heads, shape.kv_heads)};
}

double flash_scale(const BlockShape& shape) { return 1.0 / std::sqrt(static_cast<double>(shape.head_dim)); }

// How far back a query sees beside itself, and how far ahead; absent without a window.
std::optional<std::int64_t> flash_left(const BlockShape& shape) {
  return shape.window > 0 ? std::optional(shape.window - 1) : std::nullopt;
}
std::optional<std::int64_t> flash_right(const BlockShape& shape) {
  return shape.window > 0 ? std::optional<std::int64_t>(0) : std::nullopt;
}

torch::Tensor flash_attend(const torch::Tensor& projections, const BlockShape& shape, const Decoder::Layout& layout,
                           AttentionSums* sums) {
  const auto [query, key, value] = heads_of(projections, shape);
  auto [attended, log_sums, state, unused, debug] =
      at::_flash_attention_forward(query, key, value, layout.starts, layout.starts, layout.longest, layout.longest, 0.0,
                                   true, false, flash_scale(shape), flash_left(shape), flash_right(shape));
  if (sums != nullptr) *sums = {log_sums, state, unused};
  return attended.view({projections.size(0), shape.query_width()});
}

torch::Tensor flash_attend_backward(const torch::Tensor& attended_gradient, const torch::Tensor& projections,
                                    const torch::Tensor& attended, const AttentionSums& sums, const BlockShape& shape,
                                    const Decoder::Layout& layout) {
  const auto [query, key, value] = heads_of(projections, shape);
  const std::vector<std::int64_t> as_heads = {projections.size(0), shape.heads, shape.head_dim};
  const auto [query_gradient, key_gradient, value_gradient] = at::_flash_attention_backward(
      attended_gradient.view(as_heads), query, key, value, attended.view(as_heads), sums.log_sums, layout.starts,
      layout.starts, layout.longest, layout.longest, 0.0, true, sums.flash_state, sums.flash_unused, flash_scale(shape),
      flash_left(shape), flash_right(shape));
  return at::cat({query_gradient.flatten(1), key_gradient.flatten(1), value_gradient.flatten(1)}, 1);
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

void attend(const torch::Tensor& projections, const BlockShape& shape, const Decoder::Layout& layout,
            torch::Tensor& attended, AttentionSums* sums) {
  if (projections.is_cuda()) {
    attended = flash_attend(projections, shape, layout, sums);
  } else {
    attend(projections, shape, layout.segments, attended, sums == nullptr ? nullptr : &sums->log_sums);
  }
}

torch::Tensor attend_backward(const torch::Tensor& attended_gradient, const torch::Tensor& projections,
                              const torch::Tensor& attended, const AttentionSums& sums, const BlockShape& shape,
                              const Decoder::Layout& layout) {
  if (projections.is_cuda()) {
    return flash_attend_backward(attended_gradient, projections, attended, sums, shape, layout);
  }
  const std::span<const Segment> segments = layout.segments;
  torch::Tensor gradient =
      covers_all(segments, projections.size(0)) ? torch::empty_like(projections) : torch::zeros_like(projections);
  if (projections.scalar_type() == torch::kBFloat16) {
    attend_rows_backward<Bf16>(attended_gradient, projections, attended, sums.log_sums, shape, segments, gradient);
  } else {
    attend_rows_backward<float>(attended_gradient, projections, attended, sums.log_sums, shape, segments, gradient);
  }
  return gradient;
}

}  // namespace retort::model
