#include "model/decoder_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>
#include <set>
#include <string_view>

#include "base/json.h"
#include "base/text.h"
#include "gguf/file.h"

namespace retort::model {

namespace {

// Keys of these families describe the file, its vocabulary or how it was made, never the computation.
constexpr std::array<std::string_view, 6> kIrrelevantFamilies = {"general.", "tokenizer.", "quantize.",
                                                                 "imatrix.", "retort.",    "mradermacher."};

// Keys of the architecture that say nothing about the computation here: what they describe is read from shapes
// (vocab_size), belongs to conversion (tensor_data_layout), or only matters to scalings that are refused.
constexpr std::array<std::string_view, 4> kIrrelevantKeys = {"llama.vocab_size", "llama.tensor_data_layout",
                                                             "llama.rope.scaling.original_context_length",
                                                             "llama.rope.scaling.finetuned"};

// A file may say these when it says what is assumed anyway.
struct NeutralKey {
  std::string_view key;
  double neutral;
};
constexpr std::array<NeutralKey, 10> kNeutralKeys = {{{"llama.expert_count", 0},
                                                      {"llama.expert_used_count", 0},
                                                      {"llama.attention.sliding_window", 0},
                                                      {"llama.attention.max_alibi_bias", 0},
                                                      {"llama.attention.clamp_kqv", 0},
                                                      {"llama.rope.scaling.attn_factor", 1},
                                                      {"llama.logit_scale", 1},
                                                      {"llama.residual_scale", 1},
                                                      {"llama.embedding_scale", 1},
                                                      {"llama.pooling_type", 0}}};

constexpr std::int64_t kMostLayers = 1024;
constexpr std::int64_t kLargestSize = std::int64_t{1} << 24;

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

// Reads keys and remembers which ones were asked for.
class KeyReader {
 public:
  explicit KeyReader(const gguf::Metadata& metadata) : metadata_(metadata) {}

  Result<std::int64_t> size(const std::string& key) {
    consumed_.insert(key);
    RETORT_ASSIGN(const std::int64_t value, uniform(key));
    return in_range(key, value);
  }
  Result<std::int64_t> size_or(const std::string& key, std::int64_t fallback) {
    consumed_.insert(key);
    if (!metadata_.contains(key)) return fallback;
    return size(key);
  }
  Result<double> positive(const std::string& key, std::optional<double> fallback) {
    consumed_.insert(key);
    if (fallback && !metadata_.contains(key)) return *fallback;
    RETORT_ASSIGN(const double value, metadata_.get<double>(key));
    if (!std::isfinite(value) || value <= 0) {
      return caller_error("The key '" + key + "' is " + std::to_string(value) + "; expected a positive number.");
    }
    return value;
  }
  Result<std::string> text_or(const std::string& key, std::string fallback) {
    consumed_.insert(key);
    return metadata_.get_or<std::string>(key, std::move(fallback));
  }
  bool consumed(const std::string& key) const { return consumed_.contains(key); }

 private:
  // Some converters write a number a layer; they must then be equal.
  Result<std::int64_t> uniform(const std::string& key) const {
    const auto single = metadata_.get<std::int64_t>(key);
    if (single || !metadata_.contains(key)) return single;
    const auto many = metadata_.get<std::vector<std::int64_t>>(key);
    if (!many) return single;
    if (many->empty() || std::any_of(many->begin(), many->end(), [&](auto n) { return n != many->front(); })) {
      return caller_error("The key '" + key +
                          "' gives different numbers to different layers, which is not supported; expected one "
                          "number.");
    }
    return many->front();
  }
  static Result<std::int64_t> in_range(const std::string& key, std::int64_t value) {
    if (value < 1 || value > kLargestSize) {
      return caller_error("The key '" + key + "' is " + std::to_string(value) + "; expected 1 to " +
                          std::to_string(kLargestSize) + ".");
    }
    return value;
  }

  const gguf::Metadata& metadata_;
  std::set<std::string> consumed_;
};

Result<void> check_other_keys(const gguf::Metadata& metadata, const KeyReader& reader) {
  for (const auto& key : metadata.keys()) {
    if (reader.consumed(key)) continue;
    if (std::any_of(kIrrelevantFamilies.begin(), kIrrelevantFamilies.end(),
                    [&](std::string_view family) { return key.starts_with(family); })) {
      continue;
    }
    if (std::find(kIrrelevantKeys.begin(), kIrrelevantKeys.end(), key) != kIrrelevantKeys.end()) continue;
    const auto neutral =
        std::find_if(kNeutralKeys.begin(), kNeutralKeys.end(), [&](const NeutralKey& k) { return k.key == key; });
    if (neutral != kNeutralKeys.end()) {
      const auto integer = metadata.get<std::int64_t>(key);
      const auto real = metadata.get<double>(key);
      const double value = integer ? static_cast<double>(*integer)
                           : real  ? *real
                                   : std::numeric_limits<double>::quiet_NaN();
      if (value == neutral->neutral) continue;
      return caller_error("The key '" + key + "' asks for something this decoder does not compute. Expected it absent" +
                          ", or " + std::to_string(static_cast<int>(neutral->neutral)) + ".");
    }
    if (key == "llama.attention.causal") {
      RETORT_ASSIGN(const bool causal, metadata.get<bool>(key));
      if (causal) continue;
    }
    if (key.starts_with("split.")) {
      return caller_error("The key '" + key +
                          "' says that this is one part of a split model, which is not supported. " +
                          "Merge the parts into one file first (llama-gguf-split --merge).");
    }
    return caller_error("The key '" + key +
                        "' is not one this decoder knows, so it cannot promise to compute what the file means. " +
                        "Use a plain Llama-architecture file.");
  }
  return {};
}

Result<void> read_rope(const gguf::File& file, KeyReader& reader, DecoderConfig& config) {
  RETORT_ASSIGN(const std::int64_t rotated, reader.size_or("llama.rope.dimension_count", config.head_dim));
  if (rotated != config.head_dim) {
    return caller_error("The file rotates " + std::to_string(rotated) + " of " + std::to_string(config.head_dim) +
                        " values of a head (llama.rope.dimension_count); only whole rotation is supported.");
  }
  RETORT_ASSIGN(config.rope_theta, reader.positive("llama.rope.freq_base", 10000.0));
  RETORT_ASSIGN(const std::string scaling, reader.text_or("llama.rope.scaling.type", "none"));
  // Files of 2023 say the factor of linear scaling in a key of its own.
  RETORT_ASSIGN(const double old_factor, reader.positive("llama.rope.scale_linear", 1.0));
  RETORT_ASSIGN(const double factor, reader.positive("llama.rope.scaling.factor", old_factor));
  if (scaling == "linear" || (scaling == "none" && old_factor != 1.0)) {
    config.rope_scale = factor;
  } else if (scaling != "none") {
    return caller_error("The file scales its rotation by '" + scaling +
                        "' (llama.rope.scaling.type), which is not supported; expected none, linear, or a rope_freqs "
                        "tensor.");
  }
  if (const auto* factors = file.find("rope_freqs.weight")) {
    const std::vector<std::int64_t> expected = {config.head_dim / 2};
    if (factors->shape != expected) {
      return caller_error("The tensor 'rope_freqs.weight' has the shape " + shape_text(factors->shape) + "; expected " +
                          shape_text(expected) + ".");
    }
    RETORT_ASSIGN(config.rope_factors, file.floats(*factors));
    for (const float value : config.rope_factors) {
      if (!std::isfinite(value) || value <= 0) {
        return caller_error("The tensor 'rope_freqs.weight' holds " + std::to_string(value) +
                            "; expected positive numbers.");
      }
    }
  }
  return {};
}

Result<void> check_tensors(const gguf::File& file, const DecoderConfig& config) {
  std::set<std::string> expected;
  for (const auto& name : tensor_names(config)) {
    const auto* tensor = file.find(name);
    if (tensor == nullptr) return caller_error("The tensor '" + name + "' is missing; the file is not a whole model.");
    auto shape = tensor_shape(config, name);
    std::reverse(shape.begin(), shape.end());  // GGUF writes the fastest dimension first
    if (tensor->shape != shape) {
      return caller_error("The tensor '" + name + "' has the shape " + shape_text(tensor->shape) + "; expected " +
                          shape_text(shape) + " from the file's own keys.");
    }
    expected.insert(name);
  }
  for (const auto& tensor : file.tensors()) {
    if (tensor.name == "rope_freqs.weight" || expected.contains(tensor.name)) continue;
    return caller_error("The tensor '" + tensor.name +
                        "' is not part of a plain Llama-architecture decoder, so it cannot be left out of the "
                        "computation. Use a file without it.");
  }
  return {};
}

Result<DecoderConfig> read_config(const gguf::File& file) {
  const auto& metadata = file.metadata();
  RETORT_ASSIGN(const std::string architecture, file.architecture());
  if (architecture != "llama") {
    return caller_error("The architecture '" + architecture +
                        "' is not supported; expected 'llama' (SmolLM2, Llama 2 and 3.x, Mistral, TinyLlama).");
  }
  if (file.tensors().empty()) {
    return caller_error("The file holds only a vocabulary; expected a model with weights.");
  }
  KeyReader reader(metadata);
  DecoderConfig config;
  RETORT_ASSIGN(config.layers, reader.size("llama.block_count"));
  if (config.layers > kMostLayers) {
    return caller_error("The file claims " + std::to_string(config.layers) + " layers; at most " +
                        std::to_string(kMostLayers) + " are supported.");
  }
  RETORT_ASSIGN(config.hidden, reader.size("llama.embedding_length"));
  RETORT_ASSIGN(config.intermediate, reader.size("llama.feed_forward_length"));
  RETORT_ASSIGN(config.context, reader.size("llama.context_length"));
  RETORT_ASSIGN(config.heads, reader.size("llama.attention.head_count"));
  RETORT_ASSIGN(config.kv_heads, reader.size_or("llama.attention.head_count_kv", config.heads));
  if (config.heads % config.kv_heads != 0) {
    return caller_error("The file has " + std::to_string(config.heads) + " heads and " +
                        std::to_string(config.kv_heads) + " key-value heads; expected a divisor.");
  }
  const bool says_length = metadata.contains("llama.attention.key_length");
  if (!says_length && config.hidden % config.heads != 0) {
    return caller_error("The width " + std::to_string(config.hidden) + " does not divide by " +
                        std::to_string(config.heads) + " heads, and 'llama.attention.key_length' is absent.");
  }
  RETORT_ASSIGN(config.head_dim,
                reader.size_or("llama.attention.key_length", says_length ? 0 : config.hidden / config.heads));
  RETORT_ASSIGN(const std::int64_t value_length, reader.size_or("llama.attention.value_length", config.head_dim));
  if (value_length != config.head_dim || config.head_dim % 2 != 0) {
    return caller_error("Keys have " + std::to_string(config.head_dim) + " values a head and values " +
                        std::to_string(value_length) + "; expected the same even number.");
  }
  RETORT_ASSIGN(config.rms_epsilon, reader.positive("llama.attention.layer_norm_rms_epsilon", std::nullopt));
  RETORT_TRY(read_rope(file, reader, config));
  RETORT_TRY(check_other_keys(metadata, reader));

  const auto* embedding = file.find("token_embd.weight");
  if (embedding == nullptr) return caller_error("The tensor 'token_embd.weight' is missing.");
  if (embedding->shape.size() != 2) return caller_error("The tensor 'token_embd.weight' is not a matrix.");
  config.vocabulary = embedding->shape[1];
  config.tied_head = file.find("output.weight") == nullptr;
  config.source_layers.resize(static_cast<std::size_t>(config.layers));
  std::iota(config.source_layers.begin(), config.source_layers.end(), 0);
  RETORT_TRY(check_tensors(file, config));
  return config;
}

}  // namespace

Result<DecoderConfig> decoder_config(const gguf::File& file) {
  auto config = read_config(file);
  if (!config) return with_context(config.error(), "'" + file.path().string() + "'");
  return config;
}

std::vector<std::string> tensor_names(const DecoderConfig& config) {
  constexpr std::array<std::string_view, 9> kBlockTensors = {
      "attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down"};
  std::vector<std::string> names = {"token_embd.weight"};
  for (std::int64_t layer = 0; layer < config.layers; ++layer) {
    for (const auto part : kBlockTensors) {
      names.push_back("blk." + std::to_string(layer) + "." + std::string(part) + ".weight");
    }
  }
  names.emplace_back("output_norm.weight");
  if (!config.tied_head) names.emplace_back("output.weight");
  return names;
}

std::vector<std::int64_t> tensor_shape(const DecoderConfig& config, const std::string& name) {
  if (name == "token_embd.weight" || name == "output.weight") return {config.vocabulary, config.hidden};
  if (name == "output_norm.weight") return {config.hidden};
  if (!name.starts_with("blk.")) return {};
  const auto part = name.substr(std::min(name.find('.', 4), name.size()));
  const std::int64_t queries = config.heads * config.head_dim;
  const std::int64_t keys = config.kv_heads * config.head_dim;
  if (part == ".attn_norm.weight" || part == ".ffn_norm.weight") return {config.hidden};
  if (part == ".attn_q.weight") return {queries, config.hidden};
  if (part == ".attn_k.weight" || part == ".attn_v.weight") return {keys, config.hidden};
  if (part == ".attn_output.weight") return {config.hidden, queries};
  if (part == ".ffn_gate.weight" || part == ".ffn_up.weight") return {config.intermediate, config.hidden};
  if (part == ".ffn_down.weight") return {config.hidden, config.intermediate};
  return {};
}

Result<DecoderConfig> cut_config(const DecoderConfig& config, std::span<const std::int64_t> layers) {
  if (layers.empty()) return caller_error("No layer is to be kept; expected at least one.");
  if (static_cast<std::int64_t>(layers.size()) > config.layers) {
    return caller_error(std::to_string(layers.size()) + " layers are to be kept, but the model has " +
                        std::to_string(config.layers) + ". Ask for at most that many.");
  }
  DecoderConfig cut = config;
  cut.layers = static_cast<std::int64_t>(layers.size());
  cut.source_layers.clear();
  std::int64_t before = -1;
  for (const std::int64_t layer : layers) {
    if (layer <= before) return caller_error("The layers to keep must be ascending, each once.");
    if (layer >= config.layers) {
      return caller_error("Layer " + std::to_string(layer) + " does not exist: the model has layers 0 to " +
                          std::to_string(config.layers - 1) + ".");
    }
    cut.source_layers.push_back(config.source_layers.at(static_cast<std::size_t>(layer)));
    before = layer;
  }
  return cut;
}

std::int64_t parameter_count(const DecoderConfig& config) {
  std::int64_t count = 0;
  for (const auto& name : tensor_names(config)) {
    const auto shape = tensor_shape(config, name);
    count += std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
  }
  return count;
}

std::int64_t matmul_parameter_count(const DecoderConfig& config) {
  std::int64_t count = config.vocabulary * config.hidden;  // the head
  for (const auto& name : tensor_names(config)) {
    const auto shape = tensor_shape(config, name);
    if (name.starts_with("blk.") && shape.size() == 2) count += shape[0] * shape[1];
  }
  return count;
}

Json to_json(const DecoderConfig& config) {
  return {{"architecture", "llama"},
          {"layers", config.layers},
          {"hidden", config.hidden},
          {"heads", config.heads},
          {"kv_heads", config.kv_heads},
          {"head_dim", config.head_dim},
          {"intermediate", config.intermediate},
          {"vocabulary", config.vocabulary},
          {"context", config.context},
          {"rms_epsilon", config.rms_epsilon},
          {"rope_theta", config.rope_theta},
          {"rope_scale", config.rope_scale},
          {"rope_factors", config.rope_factors},
          {"tied_head", config.tied_head},
          {"source_layers", config.source_layers}};
}

Result<DecoderConfig> decoder_config_from_json(const Json& json, const std::string& what) {
  if (!json.is_object()) return caller_error(what + ": the config is not an object.");
  RETORT_ASSIGN(const auto architecture, member<std::string>(json, "architecture", what));
  if (architecture != "llama")
    return caller_error(what + ": the architecture '" + architecture + "' is not supported.");
  DecoderConfig config;
  const auto size = [&](std::string_view key) -> Result<std::int64_t> {
    RETORT_ASSIGN(const auto value, member<std::int64_t>(json, key, what));
    if (value < 1 || value > kLargestSize) {
      return caller_error(what + ": '" + std::string(key) + "' is " + std::to_string(value) + ", out of range.");
    }
    return value;
  };
  const auto positive = [&](std::string_view key) -> Result<double> {
    RETORT_ASSIGN(const auto value, member<double>(json, key, what));
    if (!std::isfinite(value) || value <= 0)
      return caller_error(what + ": '" + std::string(key) + "' is not positive.");
    return value;
  };
  RETORT_ASSIGN(config.layers, size("layers"));
  RETORT_ASSIGN(config.hidden, size("hidden"));
  RETORT_ASSIGN(config.heads, size("heads"));
  RETORT_ASSIGN(config.kv_heads, size("kv_heads"));
  RETORT_ASSIGN(config.head_dim, size("head_dim"));
  RETORT_ASSIGN(config.intermediate, size("intermediate"));
  RETORT_ASSIGN(config.vocabulary, size("vocabulary"));
  RETORT_ASSIGN(config.context, size("context"));
  RETORT_ASSIGN(config.rms_epsilon, positive("rms_epsilon"));
  RETORT_ASSIGN(config.rope_theta, positive("rope_theta"));
  RETORT_ASSIGN(config.rope_scale, positive("rope_scale"));
  RETORT_ASSIGN(config.rope_factors, member<std::vector<float>>(json, "rope_factors", what));
  RETORT_ASSIGN(config.tied_head, member<bool>(json, "tied_head", what));
  RETORT_ASSIGN(config.source_layers, member<std::vector<std::int64_t>>(json, "source_layers", what));
  if (config.layers > kMostLayers || config.heads % config.kv_heads != 0 || config.head_dim % 2 != 0 ||
      static_cast<std::int64_t>(config.source_layers.size()) != config.layers ||
      (!config.rope_factors.empty() && static_cast<std::int64_t>(config.rope_factors.size()) != config.head_dim / 2)) {
    return caller_error(what + ": the numbers of the config contradict each other.");
  }
  return config;
}

}  // namespace retort::model
