// The decoder block of model/block.h by libtorch's own operations: for devices that our kernels don't run on.
//
// Autograd records it, so gradients need no second formula; norms, rotation and softmax are FP32 as in the kernels.
// Slower than they are on a processor, and equal to them to rounding (tested there). Any thread.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <span>

#include "model/block.h"

namespace retort::model {

// As block_with_gradient(); without gradients where autograd is off.
torch::Tensor block_by_tensors(const torch::Tensor& x, const DecoderBlock& block, const BlockShape& shape,
                               const Decoder::Layout& layout, BlockScratch* inside = nullptr);

// As block_with_caches(). A cache's keys and values of a layer are [kv_heads, capacity, head_dim].
torch::Tensor block_with_caches_by_tensors(const torch::Tensor& x, const DecoderBlock& block, const BlockShape& shape,
                                           const Decoder::Layout& layout, std::int64_t layer,
                                           std::span<KeyValueCache* const> caches);

torch::Tensor rms_norm_by_tensors(const torch::Tensor& x, const torch::Tensor& weight, double epsilon);

}  // namespace retort::model
