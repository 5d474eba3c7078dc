// Causal attention of packed documents on one buffer of projections.
//
// A row of `projections` is the query heads, the key heads, the value heads, each head_dim values; grouped attention:
// query head i attends with key head i / (heads / kv_heads); a window, where there is one, bounds how far back.
// Computed with an FP32 softmax by kernels of our own (model/attention_kernels.h), and on a CUDA device by the flash
// attention that libtorch has (arXiv 2307.08691), over all documents at once; continued sequences are
// model/cached_attention.h's.
#pragma once

#include <torch/types.h>

#include <span>

#include "model/block.h"

namespace retort::model {

// What the gradient needs of the softmax.
struct AttentionSums {
  torch::Tensor log_sums;  // FP32, [heads, n] or as flash attention has it; undefined where no segment is
  torch::Tensor flash_state, flash_unused;  // of flash attention alone
};

// Writes [n, query_width] to `attended`, zero where no segment is (on a CUDA device padding attends to itself, and
// `attended` is another tensor afterwards). `sums` may be null. Both tensors are contiguous.
void attend(const torch::Tensor& projections, const BlockShape& shape, const Decoder::Layout& layout,
            torch::Tensor& attended, AttentionSums* sums);

// On the processor, of these segments alone.
void attend(const torch::Tensor& projections, const BlockShape& shape,
            std::span<const Decoder::Layout::Segment> segments, torch::Tensor& attended, torch::Tensor* log_sums);

// Gradient of the projections, given that of `attended`.
torch::Tensor attend_backward(const torch::Tensor& attended_gradient, const torch::Tensor& projections,
                              const torch::Tensor& attended, const AttentionSums& sums, const BlockShape& shape,
                              const Decoder::Layout& layout);

}  // namespace retort::model
