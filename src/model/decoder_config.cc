#include "model/decoder_config.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <string_view>

#include "base/json.h"
#include "gguf/architecture.h"

namespace retort::model {

namespace {

constexpr std::int64_t kMostLayers = 1024;
constexpr std::int64_t kLargestSize = std::int64_t{1} << 24;

}  // namespace

std::vector<std::string> tensor_names(const DecoderConfig& config) {
  std::vector<std::string_view> parts = {"attn_norm.weight"};
  for (const auto part : {"attn_q.weight", "attn_k.weight", "attn_v.weight"}) parts.emplace_back(part);
  if (config.qkv_bias) {
    for (const auto part : {"attn_q.bias", "attn_k.bias", "attn_v.bias"}) parts.emplace_back(part);
  }
  if (config.qk_norm) {
    for (const auto part : {"attn_q_norm.weight", "attn_k_norm.weight"}) parts.emplace_back(part);
  }
  for (const auto part :
       {"attn_output.weight", "ffn_norm.weight", "ffn_gate.weight", "ffn_up.weight", "ffn_down.weight"}) {
    parts.emplace_back(part);
  }
  std::vector<std::string> names = {"token_embd.weight"};
  for (std::int64_t layer = 0; layer < config.layers; ++layer) {
    for (const auto part : parts) names.push_back("blk." + std::to_string(layer) + "." + std::string(part));
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
  if (part == ".attn_q.bias") return {queries};
  if (part == ".attn_k.bias" || part == ".attn_v.bias") return {keys};
  if (part == ".attn_q_norm.weight" || part == ".attn_k_norm.weight") return {config.head_dim};
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

std::string name_before_cut(const std::string& name, std::span<const std::int64_t> layers) {
  if (!name.starts_with("blk.")) return name;
  const auto dot = name.find('.', 4);
  const auto layer = static_cast<std::size_t>(std::stoll(name.substr(4, dot - 4)));
  return "blk." + std::to_string(layers[layer]) + name.substr(dot);
}

double yarn_magnitude(double rope_scale) { return rope_scale <= 1 ? 1.0 : 0.1 * std::log(rope_scale) + 1.0; }

bool is_cut_of(const DecoderConfig& student, const DecoderConfig& teacher) {
  const std::vector<std::int64_t>& sources = student.source_layers;
  return !sources.empty() && static_cast<std::int64_t>(sources.size()) == student.layers &&
         sources.back() < teacher.layers && student.hidden == teacher.hidden &&
         student.vocabulary == teacher.vocabulary;
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
  return {{"architecture", config.architecture},
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
          {"yarn_context", config.yarn_context},
          {"rope_magnitude", config.rope_magnitude},
          {"window", config.window},
          {"qkv_bias", config.qkv_bias},
          {"qk_norm", config.qk_norm},
          {"tied_head", config.tied_head},
          {"source_layers", config.source_layers}};
}

Result<DecoderConfig> decoder_config_from_json(const Json& json, const std::string& what) {
  if (!json.is_object()) return caller_error(what + ": the config is not an object.");
  RETORT_ASSIGN(const auto architecture, member<std::string>(json, "architecture", what));
  if (!gguf::is_supported_architecture(architecture)) {
    return caller_error(what + ": the architecture '" + architecture + "' is not supported.");
  }
  DecoderConfig config;
  config.architecture = architecture;
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
  // Absent from configs of before there were families.
  const auto optional_size = [&](std::string_view key) -> Result<std::int64_t> {
    if (!json.contains(key) || json.at(std::string(key)) == 0) return 0;
    return size(key);
  };
  RETORT_ASSIGN(config.yarn_context, optional_size("yarn_context"));
  RETORT_ASSIGN(config.window, optional_size("window"));
  if (json.contains("rope_magnitude")) {
    RETORT_ASSIGN(config.rope_magnitude, positive("rope_magnitude"));
  }
  if (json.contains("qkv_bias")) {
    RETORT_ASSIGN(config.qkv_bias, member<bool>(json, "qkv_bias", what));
  }
  if (json.contains("qk_norm")) {
    RETORT_ASSIGN(config.qk_norm, member<bool>(json, "qk_norm", what));
  }
  RETORT_ASSIGN(config.source_layers, member<std::vector<std::int64_t>>(json, "source_layers", what));
  if (config.layers > kMostLayers || config.heads % config.kv_heads != 0 || config.head_dim % 2 != 0 ||
      static_cast<std::int64_t>(config.source_layers.size()) != config.layers ||
      (!config.rope_factors.empty() && static_cast<std::int64_t>(config.rope_factors.size()) != config.head_dim / 2)) {
    return caller_error(what + ": the numbers of the config contradict each other.");
  }
  return config;
}

}  // namespace retort::model
