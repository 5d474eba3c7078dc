#include "model/attention.h"

#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace retort::model {

namespace {

using Segment = Decoder::Layout::Segment;

// The heads of a segment as [kv_heads, group, tokens, head_dim] without copying: key-value heads as the batch, so that
// a group shares its keys by a stride of zero.
struct Heads {
  torch::Tensor query, key, value;
};

torch::Tensor query_view(const torch::Tensor& rows, const BlockShape& shape, const Segment& segment) {
  const std::int64_t group = shape.heads / shape.kv_heads;
  return rows.as_strided({shape.kv_heads, group, segment.end - segment.begin, shape.head_dim},
                         {group * shape.head_dim, shape.head_dim, rows.stride(0), 1},
                         rows.storage_offset() + segment.begin * rows.stride(0));
}

// which: 0 keys, 1 values. repeated: expanded to the group; else a group of one.
torch::Tensor key_value_view(const torch::Tensor& rows, const BlockShape& shape, const Segment& segment, int which,
                             bool repeated) {
  const std::int64_t group = repeated ? shape.heads / shape.kv_heads : 1;
  const std::int64_t column = (shape.heads + which * shape.kv_heads) * shape.head_dim;
  return rows.as_strided({shape.kv_heads, group, segment.end - segment.begin, shape.head_dim},
                         {shape.head_dim, 0, rows.stride(0), 1},
                         rows.storage_offset() + segment.begin * rows.stride(0) + column);
}

Heads heads_of(const torch::Tensor& projections, const BlockShape& shape, const Segment& segment) {
  return {query_view(projections, shape, segment), key_value_view(projections, shape, segment, 0, true),
          key_value_view(projections, shape, segment, 1, true)};
}

bool covers_all(std::span<const Segment> segments, std::int64_t rows) {
  std::int64_t covered = 0;
  for (const auto& segment : segments) covered += segment.end - segment.begin;
  return covered == rows;
}

}  // namespace

void attend(const torch::Tensor& projections, const BlockShape& shape, std::span<const Segment> segments,
            torch::Tensor& attended, std::vector<torch::Tensor>* log_sums) {
  if (!covers_all(segments, projections.size(0))) attended.zero_();
  for (const auto& segment : segments) {
    const Heads heads = heads_of(projections, shape, segment);
    auto [output, log_sum] =
        at::_scaled_dot_product_flash_attention_for_cpu(heads.query, heads.key, heads.value, 0.0, true);
    query_view(attended, shape, segment).copy_(output);
    if (log_sums != nullptr) log_sums->push_back(std::move(log_sum));
  }
}

torch::Tensor attend_backward(const torch::Tensor& attended_gradient, const torch::Tensor& projections,
                              const torch::Tensor& attended, const std::vector<torch::Tensor>& log_sums,
                              const BlockShape& shape, std::span<const Segment> segments) {
  torch::Tensor gradient =
      covers_all(segments, projections.size(0)) ? torch::empty_like(projections) : torch::zeros_like(projections);
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const Heads heads = heads_of(projections, shape, segments[i]);
    const auto [query, key, value] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
        query_view(attended_gradient, shape, segments[i]), heads.query, heads.key, heads.value,
        query_view(attended, shape, segments[i]), log_sums[i], 0.0, true);
    query_view(gradient, shape, segments[i]).copy_(query);
    key_value_view(gradient, shape, segments[i], 0, false).copy_(key.sum(1, true));
    key_value_view(gradient, shape, segments[i], 1, false).copy_(value.sum(1, true));
  }
  return gradient;
}

void attend_cached(const torch::Tensor& projections, const BlockShape& shape, const Segment& segment,
                   KeyValueCache& cache, std::int64_t layer, torch::Tensor& attended) {
  const std::int64_t count = segment.end - segment.begin;
  const std::int64_t total = cache.length + count;
  auto& keys = cache.keys.at(static_cast<std::size_t>(layer));
  auto& values = cache.values.at(static_cast<std::size_t>(layer));
  for (auto* stored : {&keys, &values}) {
    if (stored->defined() && stored->size(1) >= total) continue;
    const std::int64_t capacity = std::max<std::int64_t>(64, total + total / 2);
    torch::Tensor larger = torch::empty({shape.kv_heads, capacity, shape.head_dim}, projections.options());
    if (stored->defined()) larger.narrow(1, 0, cache.length).copy_(stored->narrow(1, 0, cache.length));
    *stored = larger;
  }
  keys.narrow(1, cache.length, count).copy_(key_value_view(projections, shape, segment, 0, false).squeeze(1));
  values.narrow(1, cache.length, count).copy_(key_value_view(projections, shape, segment, 1, false).squeeze(1));

  const std::int64_t group = shape.heads / shape.kv_heads;
  const auto all_keys = keys.narrow(1, 0, total).unsqueeze(1).expand({-1, group, -1, -1});
  const auto all_values = values.narrow(1, 0, total).unsqueeze(1).expand({-1, group, -1, -1});
  std::optional<torch::Tensor> mask;
  const bool from_start = cache.length == 0;
  if (!from_start && count > 1) {
    // Row r may see the first length + r + 1 keys.
    mask = torch::full({count, total}, -std::numeric_limits<float>::infinity(), projections.options())
               .triu(cache.length + 1)
               .view({1, 1, count, total});
  }
  const auto output = std::get<0>(at::_scaled_dot_product_flash_attention_for_cpu(
      query_view(projections, shape, segment), all_keys, all_values, 0.0, from_start && count > 1, mask));
  query_view(attended, shape, segment).copy_(output);
}

}  // namespace retort::model
