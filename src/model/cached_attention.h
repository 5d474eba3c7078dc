// Attention of continued sequences: new tokens against the keys and values that are kept of what came before.
//
// Of one layer and sequence are kept, in the compute type:
//   keys    [kv_heads, blocks, head_dim, kKeyBlock]: blocks of keys, transposed, so that a query meets a block in as
//           many multiplications as head_dim says, and none of them sums across a vector
//   values  [kv_heads, capacity, padded head_dim], padded to a whole vector by zeros
// capacity = blocks * kKeyBlock grows by half. On a CUDA device both are [kv_heads, capacity, head_dim]. Arithmetic is
// FP32; the threads don't show.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <span>

#include "model/block.h"

namespace retort::model {

// Rows of layout.segments[i] of `projections` continue caches[i]: their keys and values are kept in layer `layer`, and
// their queries attend to all that is kept and in the window. Whole documents (empty caches) take the kernels of
// training. The caches' lengths are the caller's to move on. `attended`: [n, query_width], every row is written.
void attend_cached(const torch::Tensor& projections, const BlockShape& shape, const Decoder::Layout& layout,
                   std::span<KeyValueCache* const> caches, std::int64_t layer, torch::Tensor& attended);

// Room for `total` places in one layer's keys or values of a cache that is laid out [kv_heads, capacity, head_dim]; the
// `length` that are there move along. `options`: of what is to be kept.
void reserve_places(torch::Tensor& kept, const BlockShape& shape, const torch::TensorOptions& options,
                    std::int64_t length, std::int64_t total);

}  // namespace retort::model
