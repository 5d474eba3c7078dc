#include "model/block_tensors.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "model/adapters.h"
#include "model/cached_attention.h"

namespace retort::model {

namespace {

// The three projections of a row, [n, heads of each, head_dim], biased, normed and rotated.
struct Projections {
  torch::Tensor query, key, value;
};

torch::Tensor rotated(const torch::Tensor& heads, const Decoder::Layout& layout) {
  const std::int64_t half = heads.size(2) / 2;
  const torch::Tensor wide = heads.to(torch::kFloat32);
  const torch::Tensor a = wide.narrow(2, 0, half), b = wide.narrow(2, half, half);
  const torch::Tensor cosine = layout.cosine.unsqueeze(1), sine = layout.sine.unsqueeze(1);
  return torch::cat({a * cosine - b * sine, b * cosine + a * sine}, 2).to(heads.scalar_type());
}

const AdapterGroup::Part* part_of(const DecoderBlock& block, AdapterGroup BlockAdapters::*group, std::int64_t first) {
  if (block.adapters == nullptr) return nullptr;
  for (const AdapterGroup::Part& part : ((*block.adapters).*group).parts) {
    if (part.first == first) return &part;
  }
  return nullptr;
}

// x W^T of one matrix, whose outputs begin at `first` of its group, rounded together with what its adapter adds
// (model/adapters.h says why).
torch::Tensor product(const DecoderBlock& block, AdapterGroup BlockAdapters::*group, std::int64_t first,
                      const torch::Tensor& x, const torch::Tensor& w) {
  const AdapterGroup::Part* part = part_of(block, group, first);
  if (part == nullptr) return at::mm(x, w.t());
  return at::addmm(block.adapters->scale * at::mm(at::mm(x, part->a.t()), part->b.t()), x, w.t());
}

// base + x W^T.
torch::Tensor sum_with_product(const torch::Tensor& base, const DecoderBlock& block, AdapterGroup BlockAdapters::*group,
                               const torch::Tensor& x, const torch::Tensor& w) {
  if (part_of(block, group, 0) == nullptr) return at::addmm(base, x, w.t());
  return base + product(block, group, 0, x, w);
}

Projections project(const torch::Tensor& x, const DecoderBlock& block, const BlockShape& shape,
                    const Decoder::Layout& layout) {
  const torch::Tensor normed = rms_norm_by_tensors(x, block.attention_norm, shape.epsilon);
  std::int64_t first = 0;
  const auto heads = [&](const torch::Tensor& weight, const torch::Tensor& bias, std::int64_t count) {
    torch::Tensor rows = product(block, &BlockAdapters::query_key_value, first, normed, weight);
    first += weight.size(0);
    if (bias.defined()) rows = (rows + bias).to(x.scalar_type());
    return rows.view({x.size(0), count, shape.head_dim});
  };
  // In this order, by the rule of braces.
  Projections result = {heads(block.query, block.query_bias, shape.heads),
                        heads(block.key, block.key_bias, shape.kv_heads),
                        heads(block.value, block.value_bias, shape.kv_heads)};
  if (block.query_norm.defined()) {
    result.query = rms_norm_by_tensors(result.query, block.query_norm, shape.epsilon);
    result.key = rms_norm_by_tensors(result.key, block.key_norm, shape.epsilon);
  }
  result.query = rotated(result.query, layout);
  result.key = rotated(result.key, layout);
  return result;
}

// Queries of the last query.size(0) of key.size(0) places; all [places, heads, head_dim]. Returns [queries, heads
// head_dim].
torch::Tensor attention(const torch::Tensor& query, const torch::Tensor& key, const torch::Tensor& value,
                        const BlockShape& shape) {
  const std::int64_t queries = query.size(0), places = key.size(0);
  const bool windowed = shape.window > 0 && places > shape.window;
  const bool whole = queries == places;
  std::optional<torch::Tensor> mask;
  if (windowed || (!whole && queries > 1)) {
    const auto options = torch::TensorOptions(torch::kInt64).device(query.device());
    const torch::Tensor at_query = torch::arange(places - queries, places, options).unsqueeze(1);
    const torch::Tensor at_key = torch::arange(places, options).unsqueeze(0);
    torch::Tensor seen = at_key <= at_query;
    if (windowed) seen = seen & (at_key > at_query - shape.window);
    mask = seen;
  }
  const auto batched = [](const torch::Tensor& heads) { return heads.transpose(0, 1).unsqueeze(0); };
  const torch::Tensor mixed = at::scaled_dot_product_attention(
      batched(query), batched(key), batched(value), mask, 0.0, whole && !mask.has_value(),
      1.0 / std::sqrt(static_cast<double>(shape.head_dim)), shape.heads != shape.kv_heads);
  return mixed.squeeze(0).transpose(0, 1).reshape({queries, shape.query_width()});
}

torch::Tensor finish(const torch::Tensor& x, const torch::Tensor& attended, const DecoderBlock& block,
                     const BlockShape& shape, BlockScratch* inside) {
  const torch::Tensor middle = sum_with_product(x, block, &BlockAdapters::output, attended, block.output);
  const torch::Tensor normed = rms_norm_by_tensors(middle, block.feed_forward_norm, shape.epsilon);
  const auto wide = [&](const torch::Tensor& weight, std::int64_t first) {
    return product(block, &BlockAdapters::gate_up, first, normed, weight).to(torch::kFloat32);
  };
  const torch::Tensor gate = wide(block.gate, 0), up = wide(block.up, block.gate.size(0));
  const torch::Tensor activated = (at::silu(gate) * up).to(x.scalar_type());
  if (inside != nullptr) {
    inside->attended = attended;
    inside->activated = activated;
  }
  return sum_with_product(middle, block, &BlockAdapters::down, activated, block.down);
}

}  // namespace

torch::Tensor rms_norm_by_tensors(const torch::Tensor& x, const torch::Tensor& weight, double epsilon) {
  const torch::Tensor wide = x.to(torch::kFloat32);
  return (wide * wide.square().mean(-1, true).add(epsilon).rsqrt() * weight).to(x.scalar_type());
}

torch::Tensor block_by_tensors(const torch::Tensor& x, const DecoderBlock& block, const BlockShape& shape,
                               const Decoder::Layout& layout, BlockScratch* inside) {
  const Projections rows = project(x, block, shape, layout);
  std::vector<torch::Tensor> parts;
  std::int64_t place = 0;
  const auto nothing_until = [&](std::int64_t end) {  // padding attends to nothing
    if (end > place)
      parts.push_back(torch::zeros({end - place, shape.query_width()}, x.options().requires_grad(false)));
  };
  for (const auto& segment : layout.segments) {
    nothing_until(segment.begin);
    const auto own = [&](const torch::Tensor& heads) {
      return heads.narrow(0, segment.begin, segment.end - segment.begin);
    };
    parts.push_back(attention(own(rows.query), own(rows.key), own(rows.value), shape));
    place = segment.end;
  }
  nothing_until(x.size(0));
  return finish(x, torch::cat(parts, 0), block, shape, inside);
}

torch::Tensor block_with_caches_by_tensors(const torch::Tensor& x, const DecoderBlock& block, const BlockShape& shape,
                                           const Decoder::Layout& layout, std::int64_t layer,
                                           std::span<KeyValueCache* const> caches) {
  const torch::NoGradGuard no_gradient;
  const Projections rows = project(x, block, shape, layout);
  std::vector<torch::Tensor> parts;
  for (std::size_t i = 0; i < layout.segments.size(); ++i) {
    const auto& segment = layout.segments[i];
    KeyValueCache& cache = *caches[i];
    const std::int64_t count = segment.end - segment.begin;
    const std::int64_t total = cache.length + count;
    const auto append = [&](const torch::Tensor& heads, torch::Tensor& kept) {
      reserve_places(kept, shape, heads.options(), cache.length, total);
      kept.narrow(1, cache.length, count).copy_(heads.narrow(0, segment.begin, count).transpose(0, 1));
      return kept.narrow(1, 0, total).transpose(0, 1);
    };
    const torch::Tensor keys = append(rows.key, cache.keys.at(static_cast<std::size_t>(layer)));
    const torch::Tensor values = append(rows.value, cache.values.at(static_cast<std::size_t>(layer)));
    parts.push_back(attention(rows.query.narrow(0, segment.begin, count), keys, values, shape));
  }
  return finish(x, torch::cat(parts, 0), block, shape, nullptr);
}

}  // namespace retort::model
