#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>
#include <set>
#include <string_view>

#include "gguf/architecture.h"
#include "gguf/file.h"
#include "gguf/metadata.h"
#include "model/decoder_config.h"

namespace retort::model {

namespace {

// Keys of these families describe the file, its vocabulary or how it was made, never the computation.
constexpr std::array<std::string_view, 6> kIrrelevantFamilies = {"general.", "tokenizer.", "quantize.",
                                                                 "imatrix.", "retort.",    "mradermacher."};

// Keys of the architecture, without its name, that say nothing about the computation here: what they describe is read
// from shapes (vocab_size), belongs to conversion (tensor_data_layout), or is history (finetuned).
constexpr std::array<std::string_view, 3> kIrrelevantKeys = {"vocab_size", "tensor_data_layout",
                                                             "rope.scaling.finetuned"};

// A file may say these when it says what is assumed anyway.
struct NeutralKey {
  std::string_view key;
  double neutral;
};
constexpr std::array<NeutralKey, 13> kNeutralKeys = {{{"expert_count", 0},
                                                      {"expert_used_count", 0},
                                                      {"attention.max_alibi_bias", 0},
                                                      {"attention.clamp_kqv", 0},
                                                      {"rope.scaling.yarn_ext_factor", 1},
                                                      {"rope.scaling.yarn_attn_factor", 1},
                                                      {"rope.scaling.yarn_beta_fast", kYarnBetaFast},
                                                      {"rope.scaling.yarn_beta_slow", kYarnBetaSlow},
                                                      {"rope.scaling.yarn_log_multiplier", 0},
                                                      {"logit_scale", 1},
                                                      {"residual_scale", 1},
                                                      {"embedding_scale", 1},
                                                      {"pooling_type", 0}}};

constexpr std::int64_t kMostLayers = 1024;
constexpr std::int64_t kLargestSize = std::int64_t{1} << 24;
constexpr const char* kRopeFactors = "rope_freqs.weight";

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

// Reads keys of one architecture and remembers which ones were asked for. Names are without the architecture.
class KeyReader {
 public:
  KeyReader(const gguf::Metadata& metadata, std::string_view architecture)
      : metadata_(metadata), prefix_(std::string(architecture) + ".") {}

  bool contains(std::string_view name) const { return metadata_.contains(prefix_ + std::string(name)); }
  Result<std::int64_t> size(std::string_view name) {
    const std::string key = consume(name);
    RETORT_ASSIGN(const std::int64_t value, uniform(key));
    return in_range(key, value);
  }
  Result<std::int64_t> size_or(std::string_view name, std::int64_t fallback) {
    if (!contains(name)) return fallback;
    return size(name);
  }
  Result<double> positive(std::string_view name, std::optional<double> fallback) {
    const std::string key = consume(name);
    if (fallback && !metadata_.contains(key)) return *fallback;
    RETORT_ASSIGN(const double value, metadata_.get<double>(key));
    if (!std::isfinite(value) || value <= 0) {
      return caller_error("The key '" + key + "' is " + std::to_string(value) + "; expected a positive number.");
    }
    return value;
  }
  Result<std::string> text_or(std::string_view name, std::string fallback) {
    return metadata_.get_or<std::string>(consume(name), std::move(fallback));
  }
  // A size, or 0: absent.
  Result<std::int64_t> size_or_none(std::string_view name) {
    const std::string key = consume(name);
    if (!metadata_.contains(key)) return 0;
    RETORT_ASSIGN(const std::int64_t value, uniform(key));
    return value == 0 ? Result<std::int64_t>(0) : in_range(key, value);
  }
  bool consumed(const std::string& key) const { return consumed_.contains(key); }
  // The name of a key of this architecture; empty for any other key.
  std::string_view name_of(std::string_view key) const {
    return key.starts_with(prefix_) ? key.substr(prefix_.size()) : std::string_view();
  }

 private:
  std::string consume(std::string_view name) {
    std::string key = prefix_ + std::string(name);
    consumed_.insert(key);
    return key;
  }
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
  std::string prefix_;
  std::set<std::string> consumed_;
};

Result<void> check_other_keys(const gguf::Metadata& metadata, const KeyReader& reader) {
  for (const auto& key : metadata.keys()) {
    if (reader.consumed(key)) continue;
    if (std::any_of(kIrrelevantFamilies.begin(), kIrrelevantFamilies.end(),
                    [&](std::string_view family) { return key.starts_with(family); })) {
      continue;
    }
    const std::string_view name = reader.name_of(key);
    if (std::find(kIrrelevantKeys.begin(), kIrrelevantKeys.end(), name) != kIrrelevantKeys.end()) continue;
    const auto neutral =
        std::find_if(kNeutralKeys.begin(), kNeutralKeys.end(), [&](const NeutralKey& k) { return k.key == name; });
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
    if (name == "attention.causal") {
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
                        "Use a plain file of the architecture.");
  }
  return {};
}

Result<void> read_rope(const gguf::File& file, KeyReader& reader, DecoderConfig& config) {
  RETORT_ASSIGN(const std::int64_t rotated, reader.size_or("rope.dimension_count", config.head_dim));
  if (rotated != config.head_dim) {
    return caller_error("The file rotates " + std::to_string(rotated) + " of " + std::to_string(config.head_dim) +
                        " values of a head (rope.dimension_count); only whole rotation is supported.");
  }
  RETORT_ASSIGN(config.rope_theta, reader.positive("rope.freq_base", 10000.0));
  // As llama.cpp reads it: a factor without a type is linear.
  RETORT_ASSIGN(const std::string scaling, reader.text_or("rope.scaling.type", "linear"));
  // Files of 2023 say the factor of linear scaling in a key of its own.
  RETORT_ASSIGN(const double old_factor, reader.positive("rope.scale_linear", 1.0));
  RETORT_ASSIGN(const double factor, reader.positive("rope.scaling.factor", old_factor));
  RETORT_ASSIGN(const std::int64_t original, reader.size_or("rope.scaling.original_context_length", config.context));
  RETORT_ASSIGN(config.rope_magnitude, reader.positive("rope.scaling.attn_factor", 1.0));
  if (scaling == "linear" || scaling == "yarn") {
    config.rope_scale = factor;
    if (scaling == "yarn" && factor != 1.0) {
      config.yarn_context = original;
      config.rope_magnitude *= yarn_magnitude(factor);
    }
  } else if (scaling != "none") {
    return caller_error("The file scales its rotation by '" + scaling +
                        "' (rope.scaling.type), which is not supported; expected none, linear, yarn, or a rope_freqs "
                        "tensor.");
  }
  if (const auto* factors = file.find(kRopeFactors)) {
    const std::vector<std::int64_t> expected = {config.head_dim / 2};
    if (config.architecture != "llama") {
      return caller_error("The tensor 'rope_freqs.weight' has no meaning in a file of the architecture '" +
                          config.architecture + "'. Use a file without it.");
    }
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
    if (tensor.name == kRopeFactors || expected.contains(tensor.name)) continue;
    return caller_error("The tensor '" + tensor.name + "' is not part of a plain decoder of the architecture '" +
                        config.architecture + "', so it cannot be left out of the computation. Use a file without it.");
  }
  return {};
}

Result<DecoderConfig> read_config(const gguf::File& file) {
  const auto& metadata = file.metadata();
  RETORT_ASSIGN(const std::string architecture, file.architecture());
  if (!gguf::is_supported_architecture(architecture)) {
    return caller_error("The architecture '" + architecture + "' is not supported; expected " +
                        std::string(gguf::kSupportedArchitectures) + ".");
  }
  if (file.tensors().empty()) {
    return caller_error("The file holds only a vocabulary; expected a model with weights.");
  }
  KeyReader reader(metadata, architecture);
  DecoderConfig config;
  config.architecture = architecture;
  RETORT_ASSIGN(config.layers, reader.size("block_count"));
  if (config.layers > kMostLayers) {
    return caller_error("The file claims " + std::to_string(config.layers) + " layers; at most " +
                        std::to_string(kMostLayers) + " are supported.");
  }
  RETORT_ASSIGN(config.hidden, reader.size("embedding_length"));
  RETORT_ASSIGN(config.intermediate, reader.size("feed_forward_length"));
  RETORT_ASSIGN(config.context, reader.size("context_length"));
  RETORT_ASSIGN(config.heads, reader.size("attention.head_count"));
  RETORT_ASSIGN(config.kv_heads, reader.size_or("attention.head_count_kv", config.heads));
  if (config.heads % config.kv_heads != 0) {
    return caller_error("The file has " + std::to_string(config.heads) + " heads and " +
                        std::to_string(config.kv_heads) + " key-value heads; expected a divisor.");
  }
  const bool says_length = reader.contains("attention.key_length");
  if (!says_length && config.hidden % config.heads != 0) {
    return caller_error("The width " + std::to_string(config.hidden) + " does not divide by " +
                        std::to_string(config.heads) + " heads, and 'attention.key_length' is absent.");
  }
  RETORT_ASSIGN(config.head_dim,
                reader.size_or("attention.key_length", says_length ? 0 : config.hidden / config.heads));
  RETORT_ASSIGN(const std::int64_t value_length, reader.size_or("attention.value_length", config.head_dim));
  if (value_length != config.head_dim || config.head_dim % 2 != 0) {
    return caller_error("Keys have " + std::to_string(config.head_dim) + " values a head and values " +
                        std::to_string(value_length) + "; expected the same even number.");
  }
  RETORT_ASSIGN(config.rms_epsilon, reader.positive("attention.layer_norm_rms_epsilon", std::nullopt));
  RETORT_ASSIGN(config.window, reader.size_or_none("attention.sliding_window"));
  RETORT_TRY(read_rope(file, reader, config));
  RETORT_TRY(check_other_keys(metadata, reader));

  const auto* embedding = file.find("token_embd.weight");
  if (embedding == nullptr) return caller_error("The tensor 'token_embd.weight' is missing.");
  if (embedding->shape.size() != 2) return caller_error("The tensor 'token_embd.weight' is not a matrix.");
  config.vocabulary = embedding->shape[1];
  config.tied_head = file.find("output.weight") == nullptr;
  config.qkv_bias = file.find("blk.0.attn_q.bias") != nullptr;
  config.qk_norm = architecture == "qwen3";
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

void set_hyperparameters(const DecoderConfig& config, gguf::Metadata& metadata) {
  for (const std::string& key : metadata.keys()) {
    if (gguf::is_supported_architecture(std::string_view(key).substr(0, key.find('.')))) metadata.remove(key);
  }
  metadata.set("general.architecture", config.architecture);
  const std::string prefix = config.architecture + ".";
  const auto size = [&](const char* name, std::int64_t value) {
    metadata.set(prefix + name, static_cast<std::uint32_t>(value));
  };
  const auto real = [&](const char* name, double value) { metadata.set(prefix + name, static_cast<float>(value)); };
  size("block_count", config.layers);
  size("context_length", config.context);
  size("embedding_length", config.hidden);
  size("feed_forward_length", config.intermediate);
  size("attention.head_count", config.heads);
  size("attention.head_count_kv", config.kv_heads);
  size("attention.key_length", config.head_dim);
  size("attention.value_length", config.head_dim);
  real("attention.layer_norm_rms_epsilon", config.rms_epsilon);
  if (config.window > 0) size("attention.sliding_window", config.window);
  size("rope.dimension_count", config.head_dim);
  real("rope.freq_base", config.rope_theta);
  const bool yarn = config.yarn_context > 0;
  if (config.rope_scale != 1.0) {
    metadata.set(prefix + "rope.scaling.type", std::string(yarn ? "yarn" : "linear"));
    real("rope.scaling.factor", config.rope_scale);
  }
  if (yarn) size("rope.scaling.original_context_length", config.yarn_context);
  const double own = config.rope_magnitude / (yarn ? yarn_magnitude(config.rope_scale) : 1.0);
  if (static_cast<float>(own) != 1.0F) real("rope.scaling.attn_factor", own);
  size("vocab_size", config.vocabulary);
}

}  // namespace retort::model
