#include "model/cached_attention.h"

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "model/attention.h"
#include "model/attention_kernels.h"
#include "model/cuda_rows.h"
#include "model/parallel.h"
#include "model/tensor_rows.h"

namespace retort::model {

namespace {

using Segment = Decoder::Layout::Segment;

constexpr auto kBlock = static_cast<std::int64_t>(kKeyBlock);

std::int64_t padded(std::int64_t count) { return (count + kBlock - 1) / kBlock * kBlock; }

// Room for `total` tokens in one layer of a cache; what is there moves along.
void reserve(torch::Tensor& keys, torch::Tensor& values, const BlockShape& shape, std::int64_t total,
             at::ScalarType type) {
  if (keys.defined() && keys.size(1) * kBlock >= total) return;
  const std::int64_t capacity = padded(std::max<std::int64_t>(64, total + total / 2));
  const auto options = torch::TensorOptions(type);
  torch::Tensor more_keys = torch::empty({shape.kv_heads, capacity / kBlock, shape.head_dim, kBlock}, options);
  torch::Tensor more_values = torch::zeros({shape.kv_heads, capacity, padded(shape.head_dim)}, options);
  if (keys.defined()) {
    more_keys.narrow(1, 0, keys.size(1)).copy_(keys);
    more_values.narrow(1, 0, values.size(1)).copy_(values);
  }
  keys = std::move(more_keys);
  values = std::move(more_values);
}

// Keeps the keys and values of the segment's rows, which come after `length` others.
template <class T>
void append(const T* projections, const BlockShape& shape, const Segment& segment, std::int64_t length, T* keys,
            T* values, std::int64_t capacity) {
  const std::int64_t width = padded(shape.head_dim);
  for (std::int64_t row = segment.begin; row < segment.end; ++row, ++length) {
    const T* from = projections + row * shape.projection_width() + shape.query_width();
    for (std::int64_t head = 0; head < shape.kv_heads; ++head) {
      const T* key = from + head * shape.head_dim;
      T* block = keys + (head * capacity + length / kBlock * kBlock) * shape.head_dim + length % kBlock;
      for (std::int64_t i = 0; i < shape.head_dim; ++i) block[i * kBlock] = key[i];
      const T* value = key + shape.kv_heads * shape.head_dim;
      std::copy_n(value, shape.head_dim, values + (head * capacity + length) * width);
    }
  }
}

// A new token: its row, and how many keys it may see of which cache.
struct NewToken {
  std::int64_t row = 0;
  std::int64_t seen = 0;
  std::size_t cache = 0;
};

template <class T>
void attend_new(const torch::Tensor& projections, const BlockShape& shape, std::span<const NewToken> tokens,
                std::span<KeyValueCache* const> caches, std::int64_t layer, torch::Tensor& attended) {
  const T* from = values_of<T>(projections);
  T* to = values_of<T>(attended);
  const std::int64_t group = shape.heads / shape.kv_heads;
  const std::int64_t width = padded(shape.head_dim);
  std::int64_t most = 0;
  for (const NewToken& token : tokens) most = std::max(most, token.seen);
  const auto count = [](std::int64_t value) { return static_cast<std::size_t>(value); };
  const std::size_t scratch_size = cached_attention_scratch(count(group), count(most), count(shape.head_dim));
  const AttentionKernels& kernels = attention_kernels();
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.head_dim)));
  const auto units = static_cast<std::int64_t>(tokens.size()) * shape.kv_heads;
  parallel_for(0, units, 4, [&](std::int64_t first, std::int64_t last) {
    std::vector<float> scratch(scratch_size);
    for (std::int64_t i = first; i < last; ++i) {
      const NewToken& token = tokens[count(i / shape.kv_heads)];
      const std::int64_t head = i % shape.kv_heads;
      const torch::Tensor& keys = caches[token.cache]->keys[count(layer)];
      const torch::Tensor& values = caches[token.cache]->values[count(layer)];
      const std::int64_t capacity = values.size(1);
      // Blocks of keys that are wholly out of the window aren't read.
      const std::int64_t oldest = shape.window > 0 ? std::max<std::int64_t>(0, token.seen - shape.window) : 0;
      const std::int64_t begin = oldest / kBlock * kBlock;
      const CachedUnit unit = {count(group), count(shape.head_dim), count(token.seen - begin), scale,
                               count(oldest - begin)};
      const CachedRows<T> rows = {from + token.row * shape.projection_width() + head * group * shape.head_dim,
                                  values_of<T>(keys) + (head * capacity + begin) * shape.head_dim,
                                  values_of<T>(values) + (head * capacity + begin) * width,
                                  to + token.row * shape.query_width() + head * group * shape.head_dim};
      if constexpr (std::is_same_v<T, float>) {
        kernels.cached_f32(unit, rows, scratch.data());
      } else {
        kernels.cached_bf16(unit, rows, scratch.data());
      }
    }
  });
}

template <class T>
void attend_rows(const torch::Tensor& projections, const BlockShape& shape, std::span<const Segment> segments,
                 std::span<KeyValueCache* const> caches, std::int64_t layer, torch::Tensor& attended) {
  std::vector<Segment> whole;
  std::vector<NewToken> continued;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    KeyValueCache& cache = *caches[i];
    const Segment& segment = segments[i];
    torch::Tensor& keys = cache.keys.at(static_cast<std::size_t>(layer));
    torch::Tensor& values = cache.values.at(static_cast<std::size_t>(layer));
    reserve(keys, values, shape, cache.length + segment.end - segment.begin, projections.scalar_type());
    append(values_of<T>(projections), shape, segment, cache.length, values_of<T>(keys), values_of<T>(values),
           values.size(1));
    if (cache.length == 0) {
      whole.push_back(segment);
      continue;
    }
    for (std::int64_t row = segment.begin; row < segment.end; ++row) {
      continued.push_back({row, cache.length + row - segment.begin + 1, i});
    }
  }
  if (!whole.empty()) attend(projections, shape, whole, attended, nullptr);
  if (!continued.empty()) attend_new<T>(projections, shape, continued, caches, layer, attended);
}

void attend_cached_on_cuda(const torch::Tensor& projections, const BlockShape& shape, const Decoder::Layout& layout,
                           std::span<KeyValueCache* const> caches, std::int64_t layer, torch::Tensor& attended) {
  const auto at = static_cast<std::size_t>(layer);
  const std::int64_t keys_first = shape.query_width(), width = shape.kv_heads * shape.head_dim;
  bool whole = false;
  std::int64_t most_new = 0;
  for (std::size_t i = 0; i < layout.segments.size(); ++i) {
    const Segment& segment = layout.segments[i];
    KeyValueCache& cache = *caches[i];
    const std::int64_t count = segment.end - segment.begin;
    for (torch::Tensor* kept : {&cache.keys.at(at), &cache.values.at(at)}) {
      reserve_places(*kept, shape, projections.options(), cache.length, cache.length + count);
    }
    if (cache.length > 0) {
      most_new = std::max(most_new, count);
      continue;
    }
    whole = true;
    const torch::Tensor rows = projections.narrow(0, segment.begin, count);
    const auto heads = [&](std::int64_t first) {
      return rows.narrow(1, first, width).view({count, shape.kv_heads, shape.head_dim});
    };
    cache.keys[at].narrow(1, 0, count).copy_(heads(keys_first).transpose(0, 1));
    cache.values[at].narrow(1, 0, count).copy_(heads(keys_first + width).transpose(0, 1));
  }
  // Of all rows: those of continued sequences are written over below.
  if (whole) attend(projections, shape, layout, attended, nullptr);
  std::vector<cuda::NewToken> tokens;
  for (std::int64_t number = 0; number < most_new; ++number) {
    tokens.clear();
    for (std::size_t i = 0; i < layout.segments.size(); ++i) {
      const Segment& segment = layout.segments[i];
      const KeyValueCache& cache = *caches[i];
      if (cache.length == 0 || segment.begin + number >= segment.end) continue;
      tokens.push_back({cache.keys[at], cache.values[at], segment.begin + number, cache.length + number});
    }
    cuda::attend_new(projections, shape, tokens, attended);
  }
}

}  // namespace

void reserve_places(torch::Tensor& kept, const BlockShape& shape, const torch::TensorOptions& options,
                    std::int64_t length, std::int64_t total) {
  if (kept.defined() && kept.size(1) >= total) return;
  const std::int64_t capacity = std::max<std::int64_t>(256, total + total / 2);
  torch::Tensor more = torch::empty({shape.kv_heads, capacity, shape.head_dim}, options.requires_grad(false));
  if (kept.defined()) more.narrow(1, 0, length).copy_(kept.narrow(1, 0, length));
  kept = std::move(more);
}

void attend_cached(const torch::Tensor& projections, const BlockShape& shape, const Decoder::Layout& layout,
                   std::span<KeyValueCache* const> caches, std::int64_t layer, torch::Tensor& attended) {
  if (projections.is_cuda()) {
    attend_cached_on_cuda(projections, shape, layout, caches, layer, attended);
  } else if (projections.scalar_type() == torch::kBFloat16) {
    attend_rows<Bf16>(projections, shape, layout.segments, caches, layer, attended);
  } else {
    attend_rows<float>(projections, shape, layout.segments, caches, layer, attended);
  }
}

}  // namespace retort::model
