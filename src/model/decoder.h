// A decoder on libtorch, of any family of model/decoder_config.h: the teacher without gradients, the student with them.
//
// Weights carry GGUF's tensor names; query and key rows are half-split inside (model/rotary_layout.h). Matrices are
// kept in the compute type, norms and biases in FP32 in either type. The three attention projections of a block share
// one allocation, so do gate and up: the named tensors are views of it, so write to them in place (copy_), never
// replace them.
//
// Computes from many documents packed in one batch: attention never crosses a document, positions are the caller's.
// Work is done for every position of a batch, padding included; one long row without padding is the fastest form.
//
// A Decoder owns its weights and is movable; copies share them (tensors are handles), clone() doesn't. Computing from
// several threads at once is allowed while nobody writes to the weights. libtorch's exceptions don't leave from_…();
// forward() throws only on broken preconditions (wrong shapes), which are ours.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/backend.h"
#include "model/compute_type.h"
#include "model/decoder_config.h"

namespace retort::gguf {
class File;
}

namespace retort::model {

class HuggingFaceFolder;
struct AdapterConfig;
struct BlockAdapters;

torch::Dtype dtype_of(ComputeType type);

struct NamedTensor {
  std::string name;  // GGUF's
  torch::Tensor tensor;
};

// One batch of packed rows. All int64, on the CPU whatever the backend, [rows, length].
struct TokenBatch {
  torch::Tensor ids;
  torch::Tensor positions;  // restart at 0 with every document
  torch::Tensor documents;  // equal neighbours in a row are one document; -1 is padding, whose states mean nothing
};

// One sequence as a batch of one row and one document.
TokenBatch single_document(std::span<const std::int32_t> ids);

struct LoadOptions {
  ComputeType compute = ComputeType::kFloat32;
  Backend backend = Backend::kKernels;  // kCuda: after open_cuda()
  // Only these layers, ascending: the cut student without ever holding the whole. Absent: all.
  std::optional<std::vector<std::int64_t>> layers;
};

struct DecoderBlock {
  torch::Tensor attention_norm;        // [hidden] FP32
  torch::Tensor query_key_value;       // [(heads + 2 kv_heads) head_dim, hidden]: what the next three are views of
  torch::Tensor query, key, value;     // leaves
  torch::Tensor query_key_value_bias;  // [(heads + 2 kv_heads) head_dim] FP32; undefined without biases
  torch::Tensor query_bias, key_bias, value_bias;  // leaves, views of it
  torch::Tensor query_norm, key_norm;              // [head_dim] FP32; undefined without QK norm
  torch::Tensor output;                            // [hidden, heads head_dim]
  torch::Tensor feed_forward_norm;                 // [hidden] FP32
  torch::Tensor gate_up;                           // [2 intermediate, hidden]: what the next two are views of
  torch::Tensor gate, up;                          // leaves
  torch::Tensor down;                              // [hidden, intermediate]
  std::shared_ptr<const BlockAdapters> adapters;   // null without
};

// The keys and values of one sequence that is being continued. Belongs to the caller; one thread.
struct KeyValueCache {
  // One a layer, laid out as model/cached_attention.h says; grown as needed.
  std::vector<torch::Tensor> keys, values;
  std::int64_t length = 0;
};

class Decoder {
 public:
  // Error (kCaller): see decoder_config(); NaN or infinity in a weight, by tensor name.
  static Result<Decoder> from_gguf(const gguf::File& file, const LoadOptions& options);
  // Error (kCaller): NaN or infinity in a weight, by GGUF's name.
  static Result<Decoder> from_hugging_face(const HuggingFaceFolder& folder, ComputeType compute);
  // From tensors of any float type, half-split, named as tensor_names(config) says; copied. Error (kCaller): a name
  // missing, unknown, or of another shape, or a value that isn't finite.
  static Result<Decoder> from_tensors(const DecoderConfig& config, std::span<const NamedTensor> tensors,
                                      ComputeType compute, Backend backend = Backend::kKernels);

  // Fresh weights: norms of one, biases of zero, matrices normal with a deviation of 0.02, those that write into the
  // hidden state (attn_output, ffn_down) divided by sqrt(2 layers) ("Language Models are Unsupervised Multitask
  // Learners", section 2.3). The same seed gives the same weights.
  static Result<Decoder> fresh(const DecoderConfig& config, std::uint64_t seed, ComputeType compute);

  const DecoderConfig& config() const { return config_; }
  ComputeType compute_type() const { return compute_; }

  // Leaves under GGUF's names in the order of tensor_names(): matrices in the compute type, norms and biases in FP32. A
  // tied head is there once, as token_embd.weight.
  std::vector<NamedTensor> named_parameters() const;
  // Makes every parameter require a gradient, or none. A Decoder is made without.
  void set_requires_grad(bool enabled);

  // Low-rank adapters beside the matrices of every block (model/adapters.h), as leaves that require gradients: A
  // uniform within 1 / sqrt(in), drawn from the seed and the matrix's name, B zero. Once. Copies made before don't have
  // them.
  void add_adapters(const AdapterConfig& adapters, std::uint64_t seed);
  // A and B of each adapted matrix NAME, as NAME.lora_a and NAME.lora_b, block by block, in the compute type; none
  // without adapters. They aren't among named_parameters().
  std::vector<NamedTensor> named_adapters() const;

  // Own copies of the weights, in the given type, without gradients. Not of a model with adapters.
  Decoder clone(ComputeType compute) const { return clone(compute, backend_); }
  // The same, computed elsewhere from then on. kCuda: after open_cuda().
  Decoder clone(ComputeType compute, Backend backend) const;
  Backend backend() const { return backend_; }
  // Whether kernels of our own compute it; else libtorch's operations, slower and equal to rounding.
  bool by_kernels() const { return by_kernels_; }
  // Where weights and hidden states are.
  torch::Device device() const { return embedding_.device(); }
  // The model cut to these layers (ascending), same embeddings, norms and head; own copies. Not of a
  // model with adapters.
  Result<Decoder> keep_layers(std::span<const std::int64_t> layers) const;

  // Frees this handle's blocks: from then on only embedding, final norm and head may be used (a teacher that has said
  // everything that will be asked of it). Copies that share the weights keep them alive.
  void forget_blocks() { blocks_.clear(); }

  // Called with the number of a layer, what went into it and what came out: [rows * length, hidden].
  using LayerObserver =
      std::function<void(std::int64_t layer, const torch::Tensor& input, const torch::Tensor& output)>;

  // Hidden states after the final norm, [rows, length, hidden] in the compute type; the head hasn't been applied.
  // Records for autograd where gradients are enabled and required.
  torch::Tensor forward(const TokenBatch& batch, const LayerObserver& observer = nullptr) const;

  // Continues sequences: `ids` are the new tokens of all of them, one after the other; continuation i takes the next
  // `counts[i]` of them and appends to `caches[i]`. Hidden states after the final norm, [sum of counts, hidden]. No
  // gradients.
  torch::Tensor extend(std::span<const std::int32_t> ids, std::span<const std::int64_t> counts,
                       std::span<KeyValueCache* const> caches) const;

  // [vocabulary, hidden], compute type: token_embd when tied.
  const torch::Tensor& head_weight() const { return config_.tied_head ? embedding_ : head_; }
  const torch::Tensor& embedding() const { return embedding_; }
  // hidden [n, hidden] -> logits [n, vocabulary] in FP32. For a few rows at a time.
  torch::Tensor logits(const torch::Tensor& hidden) const;

  // What happens inside the layers, for those who measure importance (model/width_choice.h): called with the number of
  // a layer, what its heads gave, [rows * length, heads head_dim], and its activated channels, [rows * length,
  // intermediate]. Both are overwritten by the next layer. No gradients.
  using InsideObserver =
      std::function<void(std::int64_t layer, const torch::Tensor& attended, const torch::Tensor& activated)>;
  void look_inside(const TokenBatch& batch, const InsideObserver& observer) const;

  // --- The pieces of forward(), for those who measure what happens between layers (model/layer_choice.h). ---
  // What attention needs to know about a batch, worked out once.
  struct Layout {
    struct Segment {
      std::int64_t begin = 0, end = 0;  // of rows * length
    };
    std::vector<Segment> segments;
    torch::Tensor cosine, sine;  // [rows * length, head_dim / 2] FP32
    // For a CUDA device: where documents and stretches of padding begin, and the end, int32; and the longest of them.
    torch::Tensor starts;
    std::int64_t longest = 0;
  };
  Layout layout(const TokenBatch& batch) const;
  // [n] int64 -> [n, hidden].
  torch::Tensor embed(const torch::Tensor& ids) const;
  // `activated` gets what went into ffn_down, [n, intermediate]; without a record only.
  torch::Tensor apply_block(std::int64_t layer, const torch::Tensor& input, const Layout& layout,
                            torch::Tensor* activated = nullptr) const;
  torch::Tensor apply_final_norm(const torch::Tensor& input) const;

 private:
  Decoder() = default;
  // Uninitialised weights of the right shapes.
  static Decoder allocate(DecoderConfig config, ComputeType compute, Backend backend = Backend::kKernels);
  // Weights that `values` gives by name, half-split.
  static Result<Decoder> filled(const DecoderConfig& config, ComputeType compute, Backend backend,
                                const std::function<Result<std::vector<float>>(const std::string& name)>& values);
  DecoderConfig config_;
  ComputeType compute_ = ComputeType::kFloat32;
  Backend backend_ = Backend::kKernels;
  bool by_kernels_ = true;  // by kernels of our own, which on a CUDA device take some shapes and BF16 alone
  torch::Tensor embedding_, final_norm_, head_;
  torch::Tensor inverse_frequencies_;  // [head_dim / 2] FP64 on the CPU, scaling applied
  std::vector<DecoderBlock> blocks_;
};

}  // namespace retort::model
