#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <string_view>

#include "model/hugging_face.h"

namespace retort::model {

namespace {

constexpr std::int64_t kMostLayers = 1024;
constexpr std::int64_t kLargestSize = std::int64_t{1} << 24;

// Keys that say how a model was made, stored or is to be sampled from, never what it computes.
constexpr std::array<std::string_view, 21> kIrrelevantKeys = {"_name_or_path",
                                                              "attention_dropout",
                                                              "bos_token_id",
                                                              "chunk_size_feed_forward",
                                                              "dtype",
                                                              "eos_token_id",
                                                              "id2label",
                                                              "initializer_range",
                                                              "is_llama_config",
                                                              "label2id",
                                                              "pad_token_id",
                                                              "pretraining_tp",
                                                              "problem_type",
                                                              "retort",
                                                              "return_dict",
                                                              "torch_dtype",
                                                              "transformers.js_config",
                                                              "transformers_version",
                                                              "unk_token_id",
                                                              "use_cache",
                                                              "unsloth_version"};

// Reads members of one object and remembers which ones were asked for.
class MemberReader {
 public:
  MemberReader(const Json& object, std::string what) : object_(object), what_(std::move(what)) {}

  // Present and not null.
  bool has(const std::string& key) {
    consumed_.insert(key);
    const auto found = object_.find(key);
    return found != object_.end() && !found->is_null();
  }
  template <class T>
  Result<T> get(const std::string& key) {
    consumed_.insert(key);
    return member<T>(object_, key, what_);
  }
  template <class T>
  Result<T> get_or(const std::string& key, T fallback) {
    if (!has(key)) return fallback;
    return get<T>(key);
  }
  Result<std::int64_t> size(const std::string& key) {
    RETORT_ASSIGN(const auto value, get<std::int64_t>(key));
    if (value < 1 || value > kLargestSize) {
      return caller_error(what_ + ": '" + key + "' is " + std::to_string(value) + "; expected 1 to " +
                          std::to_string(kLargestSize) + ".");
    }
    return value;
  }
  Result<std::int64_t> size_or(const std::string& key, std::int64_t fallback) {
    if (!has(key)) return fallback;
    return size(key);
  }
  // As GGUF keeps them: rounded to FP32.
  Result<double> positive(const std::string& key) {
    RETORT_ASSIGN(const auto value, get<double>(key));
    const auto rounded = static_cast<double>(static_cast<float>(value));
    if (!std::isfinite(rounded) || rounded <= 0) {
      return caller_error(what_ + ": '" + key + "' is " + std::to_string(value) + "; expected a positive number.");
    }
    return rounded;
  }
  // Absent, null or this.
  template <class T>
  Result<void> expect(const std::string& key, const T& expected) {
    if (!has(key) || object_.at(key) == Json(expected)) return {};
    return caller_error(what_ + ": '" + key + "' is " + object_.at(key).dump().substr(0, 60) +
                        ", which this decoder doesn't compute; expected " + Json(expected).dump() + ".");
  }
  Result<void> nothing_else() const {
    for (const auto& [key, value] : object_.items()) {
      if (consumed_.contains(key)) continue;
      if (std::find(kIrrelevantKeys.begin(), kIrrelevantKeys.end(), key) != kIrrelevantKeys.end()) continue;
      return caller_error(what_ + ": '" + key + "' (" + value.dump().substr(0, 60) +
                          ") isn't a key this decoder knows, so it can't promise to compute what the folder means. Use "
                          "a plain Llama, Mistral, Qwen2 or Qwen3 model.");
    }
    return {};
  }
  const std::string& what() const { return what_; }

 private:
  const Json& object_;
  std::string what_;
  std::set<std::string> consumed_;
};

struct Llama3Scaling {
  double factor = 8, low = 1, high = 4;
  std::int64_t context = 8192;
};

// Divisors of the frequencies as Llama 3.1 has them (its rope_scaling of type llama3): frequencies of wavelengths below
// context / high as they are, those beyond context / low divided by factor, smoothly in between.
std::vector<float> llama3_factors(const Llama3Scaling& scaling, double theta, std::int64_t head_dim) {
  std::vector<float> factors;
  const auto context = static_cast<double>(scaling.context);
  for (std::int64_t i = 0; i < head_dim / 2; ++i) {
    const double wavelength = 2 * M_PI * std::pow(theta, 2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
    const double smooth = std::clamp((context / wavelength - scaling.low) / (scaling.high - scaling.low), 0.0, 1.0);
    factors.push_back(static_cast<float>(1 / ((1 - smooth) / scaling.factor + smooth)));
  }
  return factors;
}

Result<void> read_scaling(MemberReader reader, DecoderConfig& config) {
  RETORT_ASSIGN(const auto old_name, reader.get_or<std::string>("type", "default"));
  RETORT_ASSIGN(const auto kind, reader.get_or<std::string>("rope_type", old_name));
  if (reader.has("rope_theta")) {
    RETORT_ASSIGN(config.rope_theta, reader.positive("rope_theta"));
  }
  if (kind == "linear") {
    RETORT_ASSIGN(config.rope_scale, reader.positive("factor"));
  } else if (kind == "yarn") {
    RETORT_ASSIGN(config.rope_scale, reader.positive("factor"));
    RETORT_ASSIGN(const auto context, reader.size_or("original_max_position_embeddings", config.context));
    if (config.rope_scale != 1.0) config.yarn_context = context;
    config.rope_magnitude = yarn_magnitude(config.rope_scale);
    if (reader.has("attention_factor")) {
      RETORT_ASSIGN(config.rope_magnitude, reader.get<double>("attention_factor"));
    }
    if (!std::isfinite(config.rope_magnitude) || config.rope_magnitude <= 0) {
      return caller_error(reader.what() + ": 'attention_factor' isn't a positive number.");
    }
    RETORT_TRY(reader.expect("beta_fast", kYarnBetaFast));
    RETORT_TRY(reader.expect("beta_slow", kYarnBetaSlow));
    RETORT_TRY(reader.expect("truncate", true));
  } else if (kind == "llama3") {
    if (config.architecture != "llama") {
      return caller_error(reader.what() + ": the rotation of a " + config.architecture +
                          " model is scaled by 'llama3', which its GGUF files can't say; expected linear or yarn.");
    }
    Llama3Scaling scaling;
    RETORT_ASSIGN(scaling.factor, reader.positive("factor"));
    RETORT_ASSIGN(scaling.low, reader.positive("low_freq_factor"));
    RETORT_ASSIGN(scaling.high, reader.positive("high_freq_factor"));
    RETORT_ASSIGN(scaling.context, reader.size("original_max_position_embeddings"));
    if (scaling.high <= scaling.low) {
      return caller_error(reader.what() + ": 'high_freq_factor' isn't above 'low_freq_factor'.");
    }
    config.rope_factors = llama3_factors(scaling, config.rope_theta, config.head_dim);
  } else if (kind != "default") {
    return caller_error(reader.what() + ": the rotation is scaled by '" + kind +
                        "', which isn't supported; expected default, linear, llama3 or yarn.");
  }
  return reader.nothing_else();
}

Result<void> read_rope(MemberReader& reader, const Json& json, DecoderConfig& config) {
  if (reader.has("rope_theta")) {
    RETORT_ASSIGN(config.rope_theta, reader.positive("rope_theta"));
  }
  RETORT_TRY(reader.expect("rope_interleaved", false));
  RETORT_TRY(reader.expect("partial_rotary_factor", 1.0));
  // rope_scaling until transformers 4, rope_parameters since 5.
  for (const std::string key : {"rope_scaling", "rope_parameters"}) {
    if (!reader.has(key)) continue;
    if (!json.at(key).is_object()) return caller_error(reader.what() + ": '" + key + "' isn't an object.");
    RETORT_TRY(read_scaling(MemberReader(json.at(key), reader.what() + ", " + key), config));
  }
  return {};
}

// The window that all layers share; 0: none.
Result<std::int64_t> read_window(MemberReader& reader, const std::string& family, std::int64_t layers) {
  RETORT_ASSIGN(std::int64_t window, reader.size_or("sliding_window", 0));
  if (family == "llama" && window > 0) {
    return caller_error(reader.what() + ": 'sliding_window' has no meaning in a llama model; expected it absent.");
  }
  if (family.starts_with("qwen")) {
    RETORT_ASSIGN(const bool used, reader.get_or<bool>("use_sliding_window", false));
    RETORT_ASSIGN(const auto first, reader.get_or<std::int64_t>("max_window_layers", layers));
    if (!used || first >= layers) window = 0;
    if (window > 0 && first > 0) {
      return caller_error(reader.what() + ": only layers from " + std::to_string(first) +
                          " have a window ('max_window_layers'); models whose layers differ aren't supported.");
    }
  }
  RETORT_ASSIGN(const auto types, reader.get_or<std::vector<std::string>>("layer_types", {}));
  for (const auto& type : types) {
    if (type == (window > 0 ? "sliding_attention" : "full_attention")) continue;
    return caller_error(reader.what() + ": 'layer_types' has a '" + type +
                        "' beside what the other keys say; models whose layers differ aren't supported.");
  }
  return window;
}

// The shortest decimal number that is this FP32 one.
double shortest(double value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof(text), static_cast<float>(value)).ptr;
  double result = value;
  std::from_chars(text, end, result);
  return static_cast<double>(static_cast<float>(value)) == value ? result : value;
}

std::string class_name(const std::string& family) {
  static const std::map<std::string, std::string> kNames = {{"llama", "LlamaForCausalLM"},
                                                            {"mistral", "MistralForCausalLM"},
                                                            {"qwen2", "Qwen2ForCausalLM"},
                                                            {"qwen3", "Qwen3ForCausalLM"}};
  const auto found = kNames.find(family);
  return found == kNames.end() ? "" : found->second;
}

}  // namespace

Result<DecoderConfig> config_from_hugging_face(const Json& json, const std::string& what) {
  if (!json.is_object()) return caller_error(what + ": the file isn't a JSON object.");
  MemberReader reader(json, what);
  RETORT_ASSIGN(const auto family, reader.get<std::string>("model_type"));
  if (class_name(family).empty()) {
    return caller_error(what + ": the model_type '" + family +
                        "' isn't supported; expected llama, mistral, qwen2 or qwen3.");
  }
  RETORT_TRY(reader.expect("architectures", std::vector<std::string>{class_name(family)}));
  DecoderConfig config;
  config.architecture = family == "mistral" ? "llama" : family;
  config.qkv_bias = family == "qwen2";
  config.qk_norm = family == "qwen3";
  RETORT_ASSIGN(config.layers, reader.size("num_hidden_layers"));
  RETORT_ASSIGN(config.hidden, reader.size("hidden_size"));
  RETORT_ASSIGN(config.intermediate, reader.size("intermediate_size"));
  RETORT_ASSIGN(config.vocabulary, reader.size("vocab_size"));
  RETORT_ASSIGN(config.context, reader.size("max_position_embeddings"));
  RETORT_ASSIGN(config.heads, reader.size("num_attention_heads"));
  RETORT_ASSIGN(config.kv_heads, reader.size_or("num_key_value_heads", config.heads));
  if (config.layers > kMostLayers || config.heads % config.kv_heads != 0) {
    return caller_error(what + ": " + std::to_string(config.layers) + " layers, " + std::to_string(config.heads) +
                        " heads and " + std::to_string(config.kv_heads) + " key-value heads; expected at most " +
                        std::to_string(kMostLayers) + " layers, and heads that divide by key-value heads.");
  }
  // What the families' own configurations have where the file says nothing.
  RETORT_ASSIGN(config.head_dim, reader.size_or("head_dim", family == "qwen3" ? 128 : config.hidden / config.heads));
  if (config.head_dim % 2 != 0 || (!reader.has("head_dim") && config.hidden % config.heads != 0)) {
    return caller_error(what + ": heads of " + std::to_string(config.head_dim) +
                        " values aren't supported; expected an even number.");
  }
  RETORT_ASSIGN(config.rms_epsilon, reader.positive("rms_norm_eps"));
  RETORT_ASSIGN(config.tied_head, reader.get_or<bool>("tie_word_embeddings", false));
  RETORT_TRY(reader.expect("hidden_act", std::string("silu")));
  RETORT_TRY(reader.expect("attention_bias", false));
  RETORT_TRY(reader.expect("mlp_bias", false));
  RETORT_ASSIGN(config.window, read_window(reader, family, config.layers));
  RETORT_TRY(read_rope(reader, json, config));
  RETORT_TRY(reader.nothing_else());
  config.source_layers.resize(static_cast<std::size_t>(config.layers));
  std::iota(config.source_layers.begin(), config.source_layers.end(), 0);
  return config;
}

Result<Json> config_to_hugging_face(const DecoderConfig& config) {
  // Biases of queries, keys and values without one of the output are what sets Qwen2 apart from Llama there.
  const bool llama = config.architecture == "llama";
  const std::string family = !llama              ? config.architecture
                             : config.qkv_bias   ? "qwen2"
                             : config.window > 0 ? "mistral"
                                                 : "llama";
  if (config.qk_norm != (family == "qwen3") || config.qkv_bias != (family == "qwen2")) {
    return caller_error("A " + config.architecture + " model " + (config.qkv_bias ? "with" : "without") +
                        " biases of its queries, keys and values has no name in a Hugging Face folder.");
  }
  Json scaling;  // null
  if (!config.rope_factors.empty()) {
    Llama3Scaling llama3;
    llama3.factor = shortest(static_cast<double>(config.rope_factors.back()));
    const auto expected = llama3_factors(llama3, config.rope_theta, config.head_dim);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      if (std::fabs(config.rope_factors[i] / expected[i] - 1) < 1e-5F && config.rope_scale == 1.0) continue;
      return caller_error(
          "The model divides the frequencies of its rotation by factors of its own that aren't Llama 3's; a Hugging "
          "Face folder can't say them. Set export.huggingface to false.");
    }
    scaling = {{"rope_type", "llama3"},
               {"factor", llama3.factor},
               {"low_freq_factor", llama3.low},
               {"high_freq_factor", llama3.high},
               {"original_max_position_embeddings", llama3.context}};
  } else if (config.yarn_context > 0) {
    scaling = {{"rope_type", "yarn"},
               {"factor", shortest(config.rope_scale)},
               {"original_max_position_embeddings", config.yarn_context}};
    if (config.rope_magnitude != yarn_magnitude(config.rope_scale)) {
      scaling["attention_factor"] = config.rope_magnitude;
    }
  } else if (config.rope_scale != 1.0) {
    scaling = {{"rope_type", "linear"}, {"factor", shortest(config.rope_scale)}};
  }
  if (config.yarn_context == 0 && config.rope_magnitude != 1.0) {
    return caller_error(
        "The model multiplies its rotation by a factor without YaRN; a Hugging Face folder can't say that. Set "
        "export.huggingface to false.");
  }
  Json json = {{"architectures", {class_name(family)}},
               {"attention_bias", false},
               {"attention_dropout", 0.0},
               {"head_dim", config.head_dim},
               {"hidden_act", "silu"},
               {"hidden_size", config.hidden},
               {"initializer_range", 0.02},
               {"intermediate_size", config.intermediate},
               {"max_position_embeddings", config.context},
               {"model_type", family},
               {"num_attention_heads", config.heads},
               {"num_hidden_layers", config.layers},
               {"num_key_value_heads", config.kv_heads},
               {"rms_norm_eps", shortest(config.rms_epsilon)},
               {"rope_scaling", scaling},
               {"rope_theta", shortest(config.rope_theta)},
               {"tie_word_embeddings", config.tied_head},
               {"torch_dtype", "float32"},
               {"use_cache", true},
               {"vocab_size", config.vocabulary}};
  if (family == "llama") json["mlp_bias"] = false;
  if (family == "mistral") json["sliding_window"] = config.window;
  if (family.starts_with("qwen")) {
    json["use_sliding_window"] = config.window > 0;
    json["sliding_window"] = config.window > 0 ? Json(config.window) : Json();
    json["max_window_layers"] = config.window > 0 ? 0 : config.layers;
  }
  return json;
}

}  // namespace retort::model
