// One decoder block: x + attention(norm(x)), then + SwiGLU(norm(x)); with its gradient written by hand. Queries, keys
// and values get their biases, then queries and keys their norms, then the rotation: biases and norms where the model
// has them. Adapters (model/adapters.h) add to every product they stand beside; matrices that need no gradient get
// none.
//
// Autograd would keep every intermediate and run a kernel for each small step. Here one node a block keeps what the
// backward pass needs (x, the rotated projections, what the norms of query and key were given, the attention's output,
// x between the halves, gate and up) and computes the rest again; between matrix products the rows are walked once
// (model/row_kernels.h). Attention runs on one document at a time, so its cost follows the documents' lengths, not the
// row's.
//
// Activations are [n, width] in the compute type. Gradients are summed in fixed blocks of rows: the number of threads
// does not show in them.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <span>

#include "model/decoder.h"

namespace retort::model {

struct BlockShape {
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  double epsilon = 0;
  std::int64_t window = 0;  // see DecoderConfig
  std::int64_t query_width() const { return heads * head_dim; }
  std::int64_t rotated_heads() const { return heads + kv_heads; }
  std::int64_t projection_width() const { return (heads + 2 * kv_heads) * head_dim; }
};

// Memory that the blocks of one pass share.
struct BlockScratch {
  torch::Tensor normed, projections, attended, gate_up, activated, scales, head_scales;
};

// x + …, recorded for autograd. May be differentiated once.
torch::Tensor block_with_gradient(const torch::Tensor& x, const DecoderBlock& block, const BlockShape& shape,
                                  const Decoder::Layout& layout);

// The same on x in place, without a record.
void block_in_place(torch::Tensor& x, const DecoderBlock& block, const BlockShape& shape, const Decoder::Layout& layout,
                    BlockScratch& scratch);

// The same for continued sequences: rows are the new tokens of caches[0], then of caches[1], …; layout.segments says
// which. Appends to layer `layer` of the caches, whose `length` the caller moves on afterwards.
void block_with_caches(torch::Tensor& x, const DecoderBlock& block, const BlockShape& shape,
                       const Decoder::Layout& layout, std::int64_t layer, std::span<KeyValueCache* const> caches,
                       BlockScratch& scratch);

// RMSNorm of rows; recorded for autograd where that is enabled and needed. weight: FP32.
torch::Tensor rms_norm(const torch::Tensor& x, const torch::Tensor& weight, double epsilon);

}  // namespace retort::model
