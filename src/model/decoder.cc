#include "model/decoder.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "base/random.h"
#include "gguf/file.h"
#include "model/cuda_rows.h"
#include "model/hugging_face.h"
#include "model/rotary_layout.h"

namespace retort::model {

namespace {

// Runs what calls libtorch and turns its exceptions (memory, mostly) into errors.
template <class F>
auto guarded(const F& f) -> decltype(f()) {
  try {
    return f();
  } catch (const std::bad_alloc&) {
    return world_error("There is not enough memory for the model's weights.");
  } catch (const c10::Error& error) {
    return world_error("The model's weights could not be made ready: " + std::string(error.what_without_backtrace()));
  }
}

// arXiv 2104.09864, section 3.4.2; divided by the file's own factors, by position interpolation (arXiv 2306.15595), or
// by YaRN (arXiv 2309.00071, section 3.2), which leaves alone what turns often in the original context.
torch::Tensor frequencies(const DecoderConfig& config) {
  const std::int64_t half = config.head_dim / 2;
  const auto width = static_cast<double>(config.head_dim);
  // The pair that turns so many times in the original context.
  const auto pair_of = [&](double turns) {
    return width * std::log(static_cast<double>(config.yarn_context) / (turns * 2 * M_PI)) /
           (2 * std::log(config.rope_theta));
  };
  const bool yarn = config.yarn_context > 0;
  const double first = yarn ? std::max(0.0, std::floor(pair_of(kYarnBetaFast))) : 0;
  const double last = yarn ? std::min(width - 1, std::ceil(pair_of(kYarnBetaSlow))) : 0;
  torch::Tensor result = torch::empty({half}, torch::kFloat64);
  auto* values = result.data_ptr<double>();
  for (std::int64_t i = 0; i < half; ++i) {
    const auto pair = static_cast<double>(i);
    const double factor = config.rope_factors.empty() ? 1.0 : config.rope_factors[static_cast<std::size_t>(i)];
    const double plain = std::pow(config.rope_theta, -2.0 * pair / width) / factor;
    const double scaled = plain / config.rope_scale;
    const double share = yarn ? std::clamp((pair - first) / std::max(0.001, last - first), 0.0, 1.0) : 1.0;
    values[i] = share * scaled + (1 - share) * plain;
  }
  return result;
}

torch::Tensor wrap(std::vector<float>& values, const std::vector<std::int64_t>& shape) {
  return torch::from_blob(values.data(), shape, torch::kFloat32);
}

Result<void> check_finite(const torch::Tensor& values, const std::string& name) {
  // A sum is not finite when a value isn't; when it overflows without, the slow test decides.
  if (std::isfinite(values.sum(torch::kFloat64).item<double>())) return {};
  if (torch::isfinite(values).all().item<bool>()) return {};
  return caller_error("The tensor '" + name +
                      "' holds NaN or infinity; a model with broken weights cannot be used. Fetch the file again.");
}

}  // namespace

torch::Dtype dtype_of(ComputeType type) { return type == ComputeType::kBFloat16 ? torch::kBFloat16 : torch::kFloat32; }

TokenBatch single_document(std::span<const std::int32_t> ids) {
  const auto length = static_cast<std::int64_t>(ids.size());
  TokenBatch batch;
  batch.ids = torch::empty({1, length}, torch::kInt64);
  std::copy(ids.begin(), ids.end(), batch.ids.data_ptr<std::int64_t>());
  batch.positions = torch::arange(length, torch::kInt64).view({1, length});
  batch.documents = torch::zeros({1, length}, torch::kInt64);
  return batch;
}

Decoder Decoder::allocate(DecoderConfig config, ComputeType compute, Backend backend) {
  Decoder decoder;
  decoder.config_ = std::move(config);
  decoder.compute_ = compute;
  decoder.backend_ = backend;
  decoder.by_kernels_ = backend == Backend::kKernels || (backend == Backend::kCuda && open_cuda_kernels() &&
                                                         cuda_kernels_fit(decoder.config_, compute));
  const auto& c = decoder.config_;
  const auto options = torch::TensorOptions(backend == Backend::kCuda ? torch::kCUDA : torch::kCPU);
  const auto matrix = [&](std::int64_t rows, std::int64_t columns) {
    return torch::empty({rows, columns}, options.dtype(dtype_of(compute)));
  };
  const auto vector = [&](std::int64_t length) { return torch::empty({length}, options.dtype(torch::kFloat32)); };
  // detach(): a leaf of its own on the same memory.
  const auto part = [](const torch::Tensor& whole, std::int64_t first, std::int64_t rows) {
    return whole.narrow(0, first, rows).detach();
  };
  const std::int64_t queries = c.heads * c.head_dim;
  const std::int64_t keys = c.kv_heads * c.head_dim;
  decoder.embedding_ = matrix(c.vocabulary, c.hidden);
  decoder.final_norm_ = vector(c.hidden);
  if (!c.tied_head) decoder.head_ = matrix(c.vocabulary, c.hidden);
  decoder.blocks_.resize(static_cast<std::size_t>(c.layers));
  for (auto& block : decoder.blocks_) {
    block.attention_norm = vector(c.hidden);
    block.query_key_value = matrix(queries + 2 * keys, c.hidden);
    block.query = part(block.query_key_value, 0, queries);
    block.key = part(block.query_key_value, queries, keys);
    block.value = part(block.query_key_value, queries + keys, keys);
    if (c.qkv_bias) {
      block.query_key_value_bias = vector(queries + 2 * keys);
      block.query_bias = part(block.query_key_value_bias, 0, queries);
      block.key_bias = part(block.query_key_value_bias, queries, keys);
      block.value_bias = part(block.query_key_value_bias, queries + keys, keys);
    }
    if (c.qk_norm) {
      block.query_norm = vector(c.head_dim);
      block.key_norm = vector(c.head_dim);
    }
    block.output = matrix(c.hidden, queries);
    block.feed_forward_norm = vector(c.hidden);
    block.gate_up = matrix(2 * c.intermediate, c.hidden);
    block.gate = part(block.gate_up, 0, c.intermediate);
    block.up = part(block.gate_up, c.intermediate, c.intermediate);
    block.down = matrix(c.hidden, c.intermediate);
  }
  decoder.inverse_frequencies_ = frequencies(c);
  return decoder;
}

std::vector<NamedTensor> Decoder::named_parameters() const {
  std::vector<NamedTensor> result = {{"token_embd.weight", embedding_}};
  for (std::size_t layer = 0; layer < blocks_.size(); ++layer) {
    const auto& block = blocks_[layer];
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    result.push_back({prefix + "attn_norm.weight", block.attention_norm});
    result.push_back({prefix + "attn_q.weight", block.query});
    result.push_back({prefix + "attn_k.weight", block.key});
    result.push_back({prefix + "attn_v.weight", block.value});
    if (config_.qkv_bias) {
      result.push_back({prefix + "attn_q.bias", block.query_bias});
      result.push_back({prefix + "attn_k.bias", block.key_bias});
      result.push_back({prefix + "attn_v.bias", block.value_bias});
    }
    if (config_.qk_norm) {
      result.push_back({prefix + "attn_q_norm.weight", block.query_norm});
      result.push_back({prefix + "attn_k_norm.weight", block.key_norm});
    }
    result.push_back({prefix + "attn_output.weight", block.output});
    result.push_back({prefix + "ffn_norm.weight", block.feed_forward_norm});
    result.push_back({prefix + "ffn_gate.weight", block.gate});
    result.push_back({prefix + "ffn_up.weight", block.up});
    result.push_back({prefix + "ffn_down.weight", block.down});
  }
  result.push_back({"output_norm.weight", final_norm_});
  if (!config_.tied_head) result.push_back({"output.weight", head_});
  return result;
}

void Decoder::set_requires_grad(bool enabled) {
  for (auto& parameter : named_parameters()) parameter.tensor.set_requires_grad(enabled);
}

Result<Decoder> Decoder::from_gguf(const gguf::File& file, const LoadOptions& options) {
  RETORT_ASSIGN(const DecoderConfig whole, decoder_config(file));
  DecoderConfig config = whole;
  if (options.layers) {
    RETORT_ASSIGN(config, cut_config(whole, *options.layers));
  }
  auto loaded =
      filled(config, options.compute, options.backend, [&](const std::string& name) -> Result<std::vector<float>> {
        const auto* found = file.find(name_before_cut(name, config.source_layers));
        RETORT_CHECK(found != nullptr);  // decoder_config() has looked
        RETORT_ASSIGN(std::vector<float> values, file.floats(*found));
        const std::int64_t heads = interleaved_heads(config, name);
        return heads > 0 ? interleaved_to_half_split(values, heads, config.head_dim) : std::move(values);
      });
  if (!loaded) return with_context(loaded.error(), "'" + file.path().string() + "'");
  return loaded;
}

Result<Decoder> Decoder::from_hugging_face(const HuggingFaceFolder& folder, ComputeType compute) {
  auto loaded =
      filled(folder.config(), compute, Backend::kKernels, [&](const std::string& name) { return folder.values(name); });
  if (!loaded) return with_context(loaded.error(), "'" + folder.path().string() + "'");
  return loaded;
}

Result<Decoder> Decoder::filled(const DecoderConfig& config, ComputeType compute, Backend backend,
                                const std::function<Result<std::vector<float>>(const std::string& name)>& values) {
  return guarded([&]() -> Result<Decoder> {
    const torch::NoGradGuard no_gradient;
    Decoder decoder = allocate(config, compute, backend);
    for (auto& [name, tensor] : decoder.named_parameters()) {
      RETORT_ASSIGN(std::vector<float> own, values(name));
      const torch::Tensor wrapped = wrap(own, tensor_shape(config, name));
      RETORT_TRY(check_finite(wrapped, name));
      tensor.copy_(wrapped);
    }
    return decoder;
  });
}

Result<Decoder> Decoder::from_tensors(const DecoderConfig& config, std::span<const NamedTensor> tensors,
                                      ComputeType compute, Backend backend) {
  std::map<std::string, torch::Tensor> given;
  for (const auto& [name, tensor] : tensors) given[name] = tensor;
  for (const auto& name : tensor_names(config)) {
    const auto found = given.find(name);
    if (found == given.end()) return caller_error("The tensor '" + name + "' is missing.");
    if (found->second.sizes() != c10::IntArrayRef(tensor_shape(config, name)) || !found->second.is_floating_point()) {
      return caller_error("The tensor '" + name + "' does not have the shape or type the config says.");
    }
  }
  if (given.size() != tensor_names(config).size()) {
    for (const auto& [name, tensor] : given) {
      if (tensor_shape(config, name).empty() || (config.tied_head && name == "output.weight")) {
        return caller_error("The tensor '" + name + "' is not part of the model that the config describes.");
      }
    }
    return caller_error("There are more tensors than the config describes.");
  }
  return guarded([&]() -> Result<Decoder> {
    const torch::NoGradGuard no_gradient;
    Decoder decoder = allocate(config, compute, backend);
    for (auto& [name, tensor] : decoder.named_parameters()) {
      const torch::Tensor& source = given.at(name);
      RETORT_TRY(check_finite(source, name));
      tensor.copy_(source);
    }
    return decoder;
  });
}

Result<Decoder> Decoder::fresh(const DecoderConfig& config, std::uint64_t seed, ComputeType compute) {
  constexpr double kDeviation = 0.02;
  const double into_hidden = kDeviation / std::sqrt(2.0 * static_cast<double>(config.layers));
  return filled(config, compute, Backend::kKernels, [&](const std::string& name) -> Result<std::vector<float>> {
    const auto shape = tensor_shape(config, name);
    if (shape.size() == 1) {
      return std::vector<float>(static_cast<std::size_t>(shape[0]), name.ends_with(".bias") ? 0.0F : 1.0F);
    }
    const bool writes = name.ends_with(".attn_output.weight") || name.ends_with(".ffn_down.weight");
    std::vector<float> values(static_cast<std::size_t>(shape[0] * shape[1]));
    Random random(derive_seed(seed, name));
    for (float& value : values) value = static_cast<float>((writes ? into_hidden : kDeviation) * random.normal());
    return values;
  });
}

Decoder Decoder::clone(ComputeType compute, Backend backend) const {
  RETORT_CHECK(named_adapters().empty());
  const torch::NoGradGuard no_gradient;
  Decoder copy = allocate(config_, compute, backend);
  const auto from = named_parameters();
  auto to = copy.named_parameters();
  for (std::size_t i = 0; i < from.size(); ++i) to[i].tensor.copy_(from[i].tensor);
  return copy;
}

Result<Decoder> Decoder::keep_layers(std::span<const std::int64_t> layers) const {
  RETORT_CHECK(named_adapters().empty());
  RETORT_ASSIGN(DecoderConfig config, cut_config(config_, layers));
  return guarded([&]() -> Result<Decoder> {
    const torch::NoGradGuard no_gradient;
    Decoder cut = allocate(std::move(config), compute_, backend_);
    std::map<std::string, torch::Tensor> own;
    for (auto& [name, tensor] : named_parameters()) own[name] = tensor;
    for (auto& [name, tensor] : cut.named_parameters()) tensor.copy_(own.at(name_before_cut(name, layers)));
    return cut;
  });
}

}  // namespace retort::model
