// Low-rank adapters (LoRA: Hu et al., arXiv 2106.09685): beside a matrix W [out, in] of a block,
//   y = x W^T + scale (x A^T) B^T,   A [rank, in], B [out, rank], scale = alpha / rank,
// of which only A and B are trained. A decoder gets them by Decoder::add_adapters(), and every way of computing with it
// (forward, gradients, generation) then includes them. Embedding, norms, biases and head have none.
//
// Matrices that share their input share one product with A, as they share one with W. Everything is in the compute
// type. In BF16 a sum is rounded where W's product is, with that: what an adapter adds is mostly less than half a
// rounding of the product, and would be lost every time beside one that is rounded already; so it moves some of many
// sums, and the right share of them. Fresh adapters (B = 0) change no bit in FP32, and in BF16 how often is rounded.
//
// One thread at a time while they are written to. Broken preconditions (shapes) are ours.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/decoder.h"
#include "model/decoder_config.h"

namespace retort::model {

struct AdapterConfig {
  std::int64_t rank = 0;  // at least 1
  double lora_alpha = 0;
  bool attention = true;     // attn_q, attn_k, attn_v, attn_output
  bool feed_forward = true;  // ffn_gate, ffn_up, ffn_down
  double scale() const { return lora_alpha / static_cast<double>(rank); }
};

// Which of tensor_names(config) get an adapter, in that order.
std::vector<std::string> adapted_matrices(const DecoderConfig& config, const AdapterConfig& adapters);
// Values of all A and B.
std::int64_t adapter_parameter_count(const DecoderConfig& config, const AdapterConfig& adapters);

// The adapters of matrices that share their input and whose outputs lie side by side.
struct AdapterGroup {
  struct Part {
    std::string name;        // of the matrix
    torch::Tensor a, b;      // leaves; a is rows of `stacked`
    std::int64_t first = 0;  // where its outputs begin
  };
  torch::Tensor stacked;    // [parts * rank, in]; undefined without parts
  std::vector<Part> parts;  // one that isn't adapted is left out
};

struct BlockAdapters {
  double scale = 0;
  AdapterGroup query_key_value, output, gate_up, down;
};

// Without values: A and B are undefined memory.
std::shared_ptr<BlockAdapters> allocate_adapters(const DecoderConfig& config, const AdapterConfig& adapters,
                                                 std::int64_t layer, const torch::TensorOptions& options);

// y [n, outputs side by side] = x W^T + scale (x A^T) B^T for every part. x: [n, in]; w: W's side by side, [outputs,
// in]. No record for autograd.
void multiply(const AdapterGroup& group, double scale, const torch::Tensor& x, const torch::Tensor& w,
              torch::Tensor& y);
// The same, added to y.
void add_product(const AdapterGroup& group, double scale, const torch::Tensor& x, const torch::Tensor& w,
                 torch::Tensor& y);

// The way back. Made before x is written over, since x's gradient often goes where x was.
struct AdapterGradients {
  std::vector<torch::Tensor> parameters;  // of a and b of the first part, of the second, …
  torch::Tensor inner;                    // of x A^T; undefined without parts
  // x_gradient [n, in] = y_gradient W + what comes through the adapters.
  void multiply_back(const AdapterGroup& group, const torch::Tensor& y_gradient, const torch::Tensor& w,
                     torch::Tensor& x_gradient) const;
};
AdapterGradients adapter_gradients(const AdapterGroup& group, double scale, const torch::Tensor& x,
                                   const torch::Tensor& y_gradient);

}  // namespace retort::model
