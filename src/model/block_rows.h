// The steps of a decoder block between its matrix products, on the rows of tensors: on the processor by
// model/row_kernels.h over all threads, on a CUDA device by model/cuda_rows.h.
//
// Rows are [n, width] in the compute type (BF16 on CUDA), contiguous; weights and scales are FP32. On the processor
// gradients are summed in fixed blocks of rows: the number of threads does not show in them. Shapes are the callers'.
#pragma once

#include <torch/types.h>

#include "model/block.h"

namespace retort::model {

// RMSNorm of every row of x into y; scales [n] receives what each was multiplied by.
void normalise(const torch::Tensor& x, const torch::Tensor& weight, double epsilon, torch::Tensor& y,
               torch::Tensor& scales);
// Adds to x_gradient; returns the weight's gradient.
torch::Tensor normalise_backward(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& scales,
                                 const torch::Tensor& y_gradient, torch::Tensor& x_gradient);

// Query, key and value biases to every row of the projections, where the block has them; and their gradient.
void add_bias(torch::Tensor& projections, const DecoderBlock& block);
torch::Tensor bias_gradient(const torch::Tensor& projection_gradient);

// RMSNorm of every query and key head of `from` (rows of at least these heads) into `to`; both may be one. scales: [n,
// heads + kv_heads].
void normalise_heads(const torch::Tensor& from, const DecoderBlock& block, const BlockShape& shape, torch::Tensor& to,
                     torch::Tensor& scales);
// Replaces the gradient of normed heads at the start of each row by that of `x`, what went into the norms; returns the
// gradients of both weights, [2, head_dim].
torch::Tensor normalise_heads_backward(const torch::Tensor& x, const DecoderBlock& block, const BlockShape& shape,
                                       const torch::Tensor& scales, torch::Tensor& gradient);

// Rotates queries and keys of each row; sign -1 rotates back.
void rotate(torch::Tensor& projections, const BlockShape& shape, const Decoder::Layout& layout, float sign);

// SwiGLU of rows that are gate, then up; backward writes the gradient over gate_up.
void activate(const torch::Tensor& gate_up, torch::Tensor& activated);
void activate_backward(torch::Tensor& gate_up, const torch::Tensor& gradient);

}  // namespace retort::model
