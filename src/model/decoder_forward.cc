#include <torch/torch.h>

#include <algorithm>
#include <vector>

#include "model/block.h"
#include "model/block_tensors.h"
#include "model/decoder.h"

namespace retort::model {

namespace {

BlockShape shape_of(const DecoderConfig& config) {
  return {config.heads, config.kv_heads, config.head_dim, config.rms_epsilon, config.window};
}

// For attention over all documents at once: see Decoder::Layout::starts.
void set_starts(Decoder::Layout& layout, std::int64_t rows, torch::Device device) {
  std::vector<std::int32_t> starts = {0};
  const auto until = [&](std::int64_t end) {
    if (end <= starts.back()) return;
    layout.longest = std::max(layout.longest, end - starts.back());
    starts.push_back(static_cast<std::int32_t>(end));
  };
  for (const auto& segment : layout.segments) {
    until(segment.begin);
    until(segment.end);
  }
  until(rows);
  layout.starts = torch::tensor(starts, torch::kInt32).to(device);
}

void set_rotation(Decoder::Layout& layout, const torch::Tensor& positions, const torch::Tensor& inverse_frequencies,
                  double magnitude, torch::Device device) {
  // Where they are wanted: on a processor they would take longer than a GPU takes for a layer.
  const torch::Tensor angles = positions.to(device).to(torch::kFloat64).unsqueeze(1) * inverse_frequencies.to(device);
  layout.cosine = angles.cos().mul_(magnitude).to(torch::kFloat32).contiguous();
  layout.sine = angles.sin().mul_(magnitude).to(torch::kFloat32).contiguous();
}

}  // namespace

Decoder::Layout Decoder::layout(const TokenBatch& batch) const {
  RETORT_CHECK(batch.ids.dim() == 2 && batch.positions.sizes() == batch.ids.sizes() &&
               batch.documents.sizes() == batch.ids.sizes());
  const torch::NoGradGuard no_gradient;
  Layout result;
  const std::int64_t rows = batch.ids.size(0);
  const std::int64_t length = batch.ids.size(1);
  const torch::Tensor documents = batch.documents.to(torch::kInt64).contiguous();
  const auto* document = documents.const_data_ptr<std::int64_t>();
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t begin = 0; begin < length;) {
      const std::int64_t value = document[row * length + begin];
      std::int64_t end = begin + 1;
      while (end < length && document[row * length + end] == value) ++end;
      if (value >= 0) result.segments.push_back({row * length + begin, row * length + end});
      begin = end;
    }
  }
  if (by_kernels_ && backend_ == Backend::kCuda) set_starts(result, rows * length, device());
  set_rotation(result, batch.positions.reshape({-1}), inverse_frequencies_, config_.rope_magnitude, device());
  return result;
}

torch::Tensor Decoder::embed(const torch::Tensor& ids) const { return torch::embedding(embedding_, ids.to(device())); }

torch::Tensor Decoder::apply_block(std::int64_t layer, const torch::Tensor& input, const Layout& layout,
                                   torch::Tensor* activated) const {
  const auto& block = blocks_.at(static_cast<std::size_t>(layer));
  const BlockShape shape = shape_of(config_);
  BlockScratch scratch;
  if (!by_kernels_) {
    torch::Tensor output = block_by_tensors(input, block, shape, layout, activated == nullptr ? nullptr : &scratch);
    if (activated != nullptr) *activated = scratch.activated;
    return output;
  }
  const bool wanted = input.requires_grad() || block.query.requires_grad() || block.adapters != nullptr;
  if (torch::GradMode::is_enabled() && wanted) {
    RETORT_CHECK(activated == nullptr);
    return block_with_gradient(input, block, shape, layout);
  }
  torch::Tensor output = input.detach().clone();
  block_in_place(output, block, shape, layout, scratch);
  if (activated != nullptr) *activated = scratch.activated;
  return output;
}

torch::Tensor Decoder::apply_final_norm(const torch::Tensor& input) const {
  if (!by_kernels_) return rms_norm_by_tensors(input, final_norm_, config_.rms_epsilon);
  return rms_norm(input, final_norm_, config_.rms_epsilon);
}

torch::Tensor Decoder::forward(const TokenBatch& batch, const LayerObserver& observer) const {
  RETORT_CHECK(static_cast<std::int64_t>(blocks_.size()) == config_.layers);  // not forgotten
  const Layout packed = layout(batch);
  torch::Tensor x = embed(batch.ids.reshape({-1}));
  const bool recorded = torch::GradMode::is_enabled() && (x.requires_grad() || blocks_.front().adapters != nullptr);
  const BlockShape shape = shape_of(config_);
  BlockScratch scratch;
  for (std::size_t layer = 0; layer < blocks_.size(); ++layer) {
    torch::Tensor input;
    const bool replaced = recorded || !by_kernels_;
    if (observer) input = replaced ? x : x.clone();
    if (!by_kernels_) {
      x = block_by_tensors(x, blocks_[layer], shape, packed);
    } else if (recorded) {
      x = block_with_gradient(x, blocks_[layer], shape, packed);
    } else {
      block_in_place(x, blocks_[layer], shape, packed, scratch);
    }
    if (observer) observer(static_cast<std::int64_t>(layer), input, x);
  }
  return apply_final_norm(x).view({batch.ids.size(0), batch.ids.size(1), config_.hidden});
}

void Decoder::look_inside(const TokenBatch& batch, const InsideObserver& observer) const {
  const torch::NoGradGuard no_gradient;
  const Layout packed = layout(batch);
  torch::Tensor x = embed(batch.ids.reshape({-1}));
  const BlockShape shape = shape_of(config_);
  BlockScratch scratch;
  for (std::size_t layer = 0; layer < blocks_.size(); ++layer) {
    if (by_kernels_) {
      block_in_place(x, blocks_[layer], shape, packed, scratch);
    } else {
      x = block_by_tensors(x, blocks_[layer], shape, packed, &scratch);
    }
    observer(static_cast<std::int64_t>(layer), scratch.attended, scratch.activated);
  }
}

torch::Tensor Decoder::extend(std::span<const std::int32_t> ids, std::span<const std::int64_t> counts,
                              std::span<KeyValueCache* const> caches) const {
  RETORT_CHECK(counts.size() == caches.size());
  const torch::NoGradGuard no_gradient;
  const auto total = static_cast<std::int64_t>(ids.size());
  torch::Tensor id_tensor = torch::empty({total}, torch::kInt64);
  std::copy(ids.begin(), ids.end(), id_tensor.data_ptr<std::int64_t>());
  torch::Tensor positions = torch::empty({total}, torch::kInt64);
  auto* position = positions.data_ptr<std::int64_t>();
  Layout packed;
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    auto& cache = *caches[i];
    cache.keys.resize(blocks_.size());
    cache.values.resize(blocks_.size());
    for (std::int64_t j = 0; j < counts[i]; ++j) position[begin + j] = cache.length + j;
    packed.segments.push_back({begin, begin + counts[i]});
    begin += counts[i];
  }
  RETORT_CHECK(begin == total);
  if (by_kernels_ && backend_ == Backend::kCuda) set_starts(packed, total, device());
  set_rotation(packed, positions, inverse_frequencies_, config_.rope_magnitude, device());

  torch::Tensor x = embed(id_tensor);
  const BlockShape shape = shape_of(config_);
  BlockScratch scratch;
  for (std::size_t layer = 0; layer < blocks_.size(); ++layer) {
    const auto number = static_cast<std::int64_t>(layer);
    if (by_kernels_) {
      block_with_caches(x, blocks_[layer], shape, packed, number, caches, scratch);
    } else {
      x = block_with_caches_by_tensors(x, blocks_[layer], shape, packed, number, caches);
    }
  }
  for (std::size_t i = 0; i < counts.size(); ++i) caches[i]->length += counts[i];
  return apply_final_norm(x);
}

torch::Tensor Decoder::logits(const torch::Tensor& hidden) const {
  return at::mm(hidden, head_weight().t()).to(torch::kFloat32);
}

}  // namespace retort::model
