// The decoder block's steps (model/block_rows.h) and its attention on a CUDA device: BF16 rows, kernels of our own
// (model/row_kernels.cu) and, for whole documents, libtorch's flash attention over all of them at once.
//
// Everything is asked of the default stream and returns before it is done. Only after open_cuda_kernels(). Any thread.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <span>

#include "model/backend.h"
#include "model/block.h"
#include "model/compute_type.h"
#include "model/decoder_config.h"

namespace retort::model {

// Whether a decoder of these shapes can be computed by them: BF16, widths that are multiples of 8, heads of at most 256
// values.
bool cuda_kernels_fit(const DecoderConfig& config, ComputeType type);

namespace cuda {

void normalise(const torch::Tensor& x, const torch::Tensor& weight, double epsilon, torch::Tensor& y,
               torch::Tensor& scales);
torch::Tensor normalise_backward(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& scales,
                                 const torch::Tensor& y_gradient, torch::Tensor& x_gradient);
void add_to_rows(torch::Tensor& rows, const torch::Tensor& values);
void normalise_heads(const torch::Tensor& from, const DecoderBlock& block, const BlockShape& shape, torch::Tensor& to,
                     torch::Tensor& scales);
torch::Tensor normalise_heads_backward(const torch::Tensor& x, const DecoderBlock& block, const BlockShape& shape,
                                       const torch::Tensor& scales, torch::Tensor& gradient);
void rotate(torch::Tensor& projections, const BlockShape& shape, const Decoder::Layout& layout, float sign);
void activate(const torch::Tensor& gate_up, torch::Tensor& activated);
void activate_backward(torch::Tensor& gate_up, const torch::Tensor& gradient);

// A new token of a sequence: its row of the projections, and the cache of one layer that it is added to.
struct NewToken {
  torch::Tensor keys, values;  // [kv_heads, capacity, head_dim]
  std::int64_t row = 0;
  std::int64_t length = 0;  // kept before it
};
// Keeps each token's key and value and writes its row of `attended`; at most one token of a sequence.
void attend_new(const torch::Tensor& projections, const BlockShape& shape, std::span<const NewToken> tokens,
                torch::Tensor& attended);

}  // namespace cuda

}  // namespace retort::model
