// Causal attention of packed documents on one buffer of projections.
//
// A row of `projections` is the query heads, the key heads, the value heads, each head_dim values; grouped attention:
// query head i attends with key head i / (heads / kv_heads); a window, where there is one, bounds how far back.
// Computed by kernels of our own (model/attention_kernels.h) with an FP32 softmax; continued sequences are
// model/cached_attention.h's.
#pragma once

#include <torch/types.h>

#include <span>

#include "model/block.h"

namespace retort::model {

// Writes [n, query_width] to `attended`, zero where no segment is. When `log_sums` isn't null it receives what the
// gradient needs: [heads, n] FP32, undefined where no segment is. Both tensors are contiguous.
void attend(const torch::Tensor& projections, const BlockShape& shape,
            std::span<const Decoder::Layout::Segment> segments, torch::Tensor& attended, torch::Tensor* log_sums);

// Gradient of the projections, given that of `attended`.
torch::Tensor attend_backward(const torch::Tensor& attended_gradient, const torch::Tensor& projections,
                              const torch::Tensor& attended, const torch::Tensor& log_sums, const BlockShape& shape,
                              std::span<const Decoder::Layout::Segment> segments);

}  // namespace retort::model
