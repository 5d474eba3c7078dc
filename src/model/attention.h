// Causal attention of packed documents on one buffer of projections.
//
// A row of `projections` is the query heads, the key heads, the value heads, each head_dim values; grouped attention:
// query head i attends with key head i / (heads / kv_heads). Whole documents go through kernels of our
// own (model/attention_kernels.h), continued ones through libtorch's flash attention; the softmax is FP32 in both.
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

// New rows `segment` of `projections` continue a sequence: their keys and values are appended to the cache of this
// layer, their queries attend to all of it.
void attend_cached(const torch::Tensor& projections, const BlockShape& shape, const Decoder::Layout::Segment& segment,
                   KeyValueCache& cache, std::int64_t layer, torch::Tensor& attended);

}  // namespace retort::model
