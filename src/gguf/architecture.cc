#include "gguf/architecture.h"

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace retort::gguf {
namespace {

constexpr std::int64_t kMaxLayers = 512;     // llama.cpp's LLAMA_MAX_LAYERS, which it asserts
constexpr std::int64_t kMaxWidth = 1 << 20;  // of any hyper-parameter that is a width
constexpr std::int64_t kMaxContext = 1 << 26;
constexpr std::size_t kMaxTokens = 1U << 24U;

Result<std::int64_t> bounded(const Metadata& metadata, const std::string& key, std::int64_t low, std::int64_t high) {
  RETORT_ASSIGN(const auto value, metadata.get<std::int64_t>(key));
  if (value < low || value > high) {
    return caller_error("The metadata key '" + key + "' is " + std::to_string(value) + "; expected " +
                        std::to_string(low) + " to " + std::to_string(high) + ".");
  }
  // llama.cpp reads these as u32 and refuses other types.
  if (!std::holds_alternative<std::uint32_t>(*metadata.find_value(key))) {
    return caller_error("The metadata key '" + key + "' is of type " + type_text(*metadata.find_value(key)) +
                        "; expected u32.");
  }
  return value;
}

Result<void> positive_float(const Metadata& metadata, const std::string& key, bool required) {
  if (!metadata.contains(key)) {
    if (required) RETORT_TRY(metadata.get<float>(key));
    return {};
  }
  RETORT_ASSIGN(const auto value, metadata.get<float>(key));
  if (!(value > 0) || value > 1e12F) {
    return caller_error("The metadata key '" + key + "' is " + std::to_string(value) + "; expected a positive number.");
  }
  return {};
}

// Keys of the architecture that say what this version understands; what isn't here is refused, because llama.cpp would
// compute something else with it, or abort.
bool is_understood(std::string_view name) {
  static const std::set<std::string_view> kNames = {"block_count",
                                                    "context_length",
                                                    "embedding_length",
                                                    "feed_forward_length",
                                                    "vocab_size",
                                                    "tensor_data_layout",
                                                    "attention.head_count",
                                                    "attention.head_count_kv",
                                                    "attention.key_length",
                                                    "attention.value_length",
                                                    "attention.layer_norm_rms_epsilon",
                                                    "attention.sliding_window",
                                                    "rope.dimension_count",
                                                    "rope.freq_base",
                                                    "rope.scale_linear",
                                                    "rope.scaling.type",
                                                    "rope.scaling.factor",
                                                    "rope.scaling.attn_factor",
                                                    "rope.scaling.original_context_length",
                                                    "rope.scaling.finetuned"};
  return kNames.count(name) != 0;
}

// Keys that some converters write although they say nothing: only with this value.
Result<bool> is_neutral(const Metadata& metadata, std::string_view name, const std::string& key) {
  static const std::map<std::string_view, double> kValues = {{"expert_count", 0},
                                                             {"expert_used_count", 0},
                                                             {"pooling_type", 0},
                                                             {"attention.max_alibi_bias", 0},
                                                             {"attention.clamp_kqv", 0},
                                                             {"rope.scaling.yarn_ext_factor", 1},
                                                             {"rope.scaling.yarn_attn_factor", 1},
                                                             {"rope.scaling.yarn_beta_fast", 32},
                                                             {"rope.scaling.yarn_beta_slow", 1},
                                                             {"rope.scaling.yarn_log_multiplier", 0},
                                                             {"logit_scale", 1},
                                                             {"residual_scale", 1},
                                                             {"embedding_scale", 1}};
  if (name == "attention.causal") return metadata.get<bool>(key);
  const auto found = kValues.find(name);
  if (found == kValues.end()) return false;
  if (const auto integer = metadata.get<std::int64_t>(key)) return static_cast<double>(*integer) == found->second;
  RETORT_ASSIGN(const auto real, metadata.get<double>(key));
  return real == found->second;
}

Result<void> check_keys(const Metadata& metadata, const std::string& prefix) {
  for (const auto& [key, value] : metadata.entries()) {
    if (!key.starts_with(prefix)) continue;
    const std::string_view name = std::string_view(key).substr(prefix.size());
    if (is_understood(name)) continue;
    RETORT_ASSIGN(const bool neutral, is_neutral(metadata, name, key));
    if (neutral) continue;
    return caller_error("The metadata key '" + key.substr(0, 80) + "' (" + value_text(value, 40) +
                        ") asks for something that isn't supported here, so the model's answers would be wrong.");
  }
  for (const char* name : {"rope.scaling.factor", "rope.scale_linear", "rope.scaling.attn_factor"}) {
    RETORT_TRY(positive_float(metadata, prefix + name, false));
  }
  if (metadata.contains(prefix + "rope.scaling.original_context_length")) {
    RETORT_TRY(bounded(metadata, prefix + "rope.scaling.original_context_length", 1, kMaxContext));
  }
  if (metadata.contains(prefix + "attention.sliding_window")) {
    RETORT_TRY(bounded(metadata, prefix + "attention.sliding_window", 0, kMaxContext));
  }
  return {};
}

struct Shape {
  std::int64_t layers, hidden, feed_forward, heads, kv_heads, head_dim, vocabulary;
};

Result<Shape> read_shape(const File& file, const std::string& prefix) {
  const Metadata& metadata = file.metadata();
  Shape shape{};
  RETORT_ASSIGN(shape.layers, bounded(metadata, prefix + "block_count", 1, kMaxLayers));
  RETORT_ASSIGN(shape.hidden, bounded(metadata, prefix + "embedding_length", 1, kMaxWidth));
  RETORT_ASSIGN(shape.feed_forward, bounded(metadata, prefix + "feed_forward_length", 1, kMaxWidth));
  RETORT_ASSIGN(shape.heads, bounded(metadata, prefix + "attention.head_count", 1, kMaxWidth));
  shape.kv_heads = shape.heads;
  if (metadata.contains(prefix + "attention.head_count_kv")) {
    RETORT_ASSIGN(shape.kv_heads, bounded(metadata, prefix + "attention.head_count_kv", 1, kMaxWidth));
  }
  RETORT_TRY(bounded(metadata, prefix + "context_length", 1, kMaxContext));
  RETORT_TRY(positive_float(metadata, prefix + "attention.layer_norm_rms_epsilon", true));
  RETORT_TRY(positive_float(metadata, prefix + "rope.freq_base", false));
  if (shape.heads % shape.kv_heads != 0) {
    return caller_error("The model has " + std::to_string(shape.heads) + " attention heads for " +
                        std::to_string(shape.kv_heads) +
                        " key-value heads; the first must be a multiple of the second.");
  }
  shape.head_dim = shape.hidden / shape.heads;
  if (metadata.contains(prefix + "attention.key_length")) {
    RETORT_ASSIGN(shape.head_dim, bounded(metadata, prefix + "attention.key_length", 1, kMaxWidth));
  } else if (shape.hidden % shape.heads != 0) {
    return caller_error("The embedding length " + std::to_string(shape.hidden) + " doesn't divide by the " +
                        std::to_string(shape.heads) + " attention heads.");
  }
  for (const char* name : {"attention.value_length", "rope.dimension_count"}) {
    const std::string key = prefix + name;
    const std::int64_t implied = shape.hidden / shape.heads;
    std::int64_t value = std::string_view(name) == "rope.dimension_count" ? shape.head_dim : implied;
    if (metadata.contains(key)) {
      RETORT_ASSIGN(value, bounded(metadata, key, 1, kMaxWidth));
    }
    if (value != shape.head_dim) {
      return caller_error("The metadata key '" + key + "' is " + std::to_string(value) + ", but attention heads are " +
                          std::to_string(shape.head_dim) + " wide; models where they differ aren't supported.");
    }
  }
  if (prefix == "qwen2." && shape.heads * shape.head_dim != shape.hidden) {
    return caller_error("The model's " + std::to_string(shape.heads) + " heads of " + std::to_string(shape.head_dim) +
                        " make " + std::to_string(shape.heads * shape.head_dim) + ", but it is " +
                        std::to_string(shape.hidden) + " wide; llama.cpp computes qwen2 only where they are equal.");
  }
  if (shape.head_dim % 2 != 0) {
    return caller_error("Attention heads are " + std::to_string(shape.head_dim) +
                        " wide; rotary embedding needs an even number.");
  }
  if (metadata.contains(prefix + "expert_count")) {
    RETORT_ASSIGN(const auto experts, metadata.get<std::int64_t>(prefix + "expert_count"));
    if (experts != 0) {
      return caller_error("The model is a mixture of " + std::to_string(experts) +
                          " experts, which isn't supported. Use a dense model.");
    }
  }
  RETORT_ASSIGN(const auto scaling, metadata.get_or<std::string>(prefix + "rope.scaling.type", "none"));
  if (scaling != "none" && scaling != "linear" && scaling != "yarn") {
    return caller_error("The rope scaling type '" + scaling.substr(0, 40) +
                        "' isn't supported; expected none, linear or yarn (Llama 3's comes as a rope_freqs tensor).");
  }
  RETORT_ASSIGN(const auto tokens, metadata.get<std::vector<std::string>>("tokenizer.ggml.tokens"));
  shape.vocabulary = static_cast<std::int64_t>(tokens.size());
  if (metadata.contains(prefix + "vocab_size")) {
    RETORT_ASSIGN(const auto size, bounded(metadata, prefix + "vocab_size", 1, kMaxTokens));
    if (size != shape.vocabulary) {
      return caller_error("The file says " + prefix + "vocab_size " + std::to_string(size) +
                          ", but its vocabulary has " + std::to_string(shape.vocabulary) + " tokens.");
    }
  }
  return shape;
}

class TensorCheck {
 public:
  explicit TensorCheck(const File& file) : file_(file) {}

  Result<void> expect(const std::string& name, const std::vector<std::int64_t>& shape, bool required = true) {
    const TensorInfo* tensor = file_.find(name);
    if (tensor == nullptr) {
      if (!required) return {};
      return caller_error("The tensor '" + name + "' is missing. The file is incomplete; fetch or convert it again.");
    }
    seen_.insert(tensor->name);
    if (tensor->shape != shape) {
      return caller_error("The tensor '" + name + "' has shape " + text(tensor->shape) + "; the metadata implies " +
                          text(shape) + ".");
    }
    const bool vector = shape.size() == 1;
    const bool plain = block_length(tensor->type) == 1;
    const bool weights = tensor->type == TensorType::kF32 || tensor->type == TensorType::kF16 ||
                         tensor->type == TensorType::kBF16 || (!plain && is_quantised(tensor->type));
    if (vector ? tensor->type != TensorType::kF32 : !weights) {
      return caller_error("The tensor '" + name + "' is of type " + std::string(name_of(tensor->type)) + "; expected " +
                          (vector ? "F32." : "F32, F16, BF16 or a quantised type."));
    }
    return {};
  }

  Result<void> nothing_else() const {
    for (const TensorInfo& tensor : file_.tensors()) {
      if (seen_.count(tensor.name) == 0) {
        return caller_error(
            "The file holds a tensor '" + tensor.name +
            "' that a model of this architecture doesn't have here (fused projections, experts, adapters "
            "and biases other than those of queries, keys and values aren't supported), so its "
            "answers would be wrong without it.");
      }
    }
    return {};
  }

 private:
  static std::string text(const std::vector<std::int64_t>& shape) {
    std::string out;
    for (const std::int64_t length : shape) out += (out.empty() ? "" : " x ") + std::to_string(length);
    return out;
  }
  const File& file_;
  std::set<std::string_view> seen_;
};

Result<void> check(const File& file) {
  RETORT_ASSIGN(const std::string architecture, file.architecture());
  if (!is_supported_architecture(architecture)) {
    return caller_error("The model's architecture is '" + architecture.substr(0, 60) +
                        "', which isn't supported. Supported: " + std::string(kSupportedArchitectures) + ".");
  }
  if (file.metadata().contains("split.count")) {
    RETORT_ASSIGN(const auto parts, file.metadata().get<std::int64_t>("split.count"));
    if (parts > 1) {
      return caller_error("The file is one of " + std::to_string(parts) +
                          " parts of a split model. Merge them first (llama.cpp: llama-gguf-split --merge).");
    }
  }
  RETORT_TRY(check_vocabulary(file));
  if (file.tensors().empty()) {
    return caller_error("The file holds a vocabulary and no weights. A model with weights is needed here.");
  }
  const std::string prefix = architecture + ".";
  RETORT_ASSIGN(const Shape shape, read_shape(file, prefix));
  RETORT_TRY(check_keys(file.metadata(), prefix));
  TensorCheck tensors(file);
  RETORT_TRY(tensors.expect("token_embd.weight", {shape.hidden, shape.vocabulary}));
  RETORT_TRY(tensors.expect("output_norm.weight", {shape.hidden}));
  RETORT_TRY(tensors.expect("output.weight", {shape.hidden, shape.vocabulary}, false));
  if (architecture == "llama") RETORT_TRY(tensors.expect("rope_freqs.weight", {shape.head_dim / 2}, false));
  const bool biased = file.find("blk.0.attn_q.bias") != nullptr;
  const std::int64_t query = shape.heads * shape.head_dim;
  const std::int64_t key = shape.kv_heads * shape.head_dim;
  for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
    const std::string block = "blk." + std::to_string(layer) + ".";
    RETORT_TRY(tensors.expect(block + "attn_norm.weight", {shape.hidden}));
    RETORT_TRY(tensors.expect(block + "attn_q.weight", {shape.hidden, query}));
    RETORT_TRY(tensors.expect(block + "attn_k.weight", {shape.hidden, key}));
    RETORT_TRY(tensors.expect(block + "attn_v.weight", {shape.hidden, key}));
    if (biased) {
      RETORT_TRY(tensors.expect(block + "attn_q.bias", {query}));
      RETORT_TRY(tensors.expect(block + "attn_k.bias", {key}));
      RETORT_TRY(tensors.expect(block + "attn_v.bias", {key}));
    }
    if (architecture == "qwen3") {
      RETORT_TRY(tensors.expect(block + "attn_q_norm.weight", {shape.head_dim}));
      RETORT_TRY(tensors.expect(block + "attn_k_norm.weight", {shape.head_dim}));
    }
    RETORT_TRY(tensors.expect(block + "attn_output.weight", {query, shape.hidden}));
    RETORT_TRY(tensors.expect(block + "ffn_norm.weight", {shape.hidden}));
    RETORT_TRY(tensors.expect(block + "ffn_gate.weight", {shape.hidden, shape.feed_forward}));
    RETORT_TRY(tensors.expect(block + "ffn_up.weight", {shape.hidden, shape.feed_forward}));
    RETORT_TRY(tensors.expect(block + "ffn_down.weight", {shape.feed_forward, shape.hidden}));
  }
  return tensors.nothing_else();
}

}  // namespace

bool is_supported_architecture(std::string_view architecture) {
  return architecture == "llama" || architecture == "qwen2" || architecture == "qwen3";
}

std::int64_t sliding_window(const File& file) {
  const auto architecture = file.architecture();
  if (!architecture) return 0;
  return file.metadata().get<std::int64_t>(*architecture + ".attention.sliding_window").value_or(0);
}

Result<void> check_model(const File& file) {
  const auto checked = check(file);
  if (!checked) return with_context(checked.error(), file.path().string());
  return {};
}

Result<void> check_vocabulary(const File& file) {
  const Metadata& metadata = file.metadata();
  RETORT_TRY(file.architecture());
  RETORT_ASSIGN(const auto kind, metadata.get<std::string>("tokenizer.ggml.model"));
  static const std::set<std::string, std::less<>> kKinds = {"llama", "bert", "gpt2", "t5", "rwkv", "plamo2", "gemma4"};
  if (kKinds.count(kind) == 0) {
    return caller_error("The file's tokenizer is of the kind '" + kind.substr(0, 40) +
                        "', which isn't known here. Expected one of: bert, gemma4, gpt2, llama, plamo2, rwkv, t5.");
  }
  RETORT_ASSIGN(const auto split, metadata.get_or<std::string>("tokenizer.ggml.pre", ""));
  if (split == "whitespace") {
    // llama.cpp asserts that words hold no space, and this one leaves them in.
    return caller_error("The file's pre-tokenizer is 'whitespace', which isn't supported.");
  }
  RETORT_ASSIGN(const auto tokens, metadata.get<std::vector<std::string>>("tokenizer.ggml.tokens"));
  if (tokens.empty() || tokens.size() > kMaxTokens) {
    return caller_error("The file's vocabulary has " + std::to_string(tokens.size()) + " tokens; expected 1 to " +
                        std::to_string(kMaxTokens) + ".");
  }
  std::set<std::string_view> distinct;
  bool newline = false;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (!tokens[i].empty() && !distinct.insert(tokens[i]).second) {
      return caller_error("The file's vocabulary is corrupt: token " + std::to_string(i) +
                          " has the same text as an earlier one.");
    }
    newline = newline || tokens[i] == "\\n";
  }
  // llama.cpp names empty tokens this way, and asserts that names stay distinct.
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i].empty() && distinct.count("[EMPTY_" + std::to_string(i) + "]") != 0) {
      return caller_error("The file's vocabulary is corrupt: token " + std::to_string(i) + " is empty.");
    }
  }
  if (kind == "rwkv" && !newline) return caller_error("The file's vocabulary has no newline token.");
  const auto expect_length = [&](const std::string& key, std::size_t length) -> Result<void> {
    if (length == tokens.size()) return {};
    return caller_error("The metadata key '" + key + "' has " + std::to_string(length) + " members for " +
                        std::to_string(tokens.size()) + " tokens; they must be as many.");
  };
  if (metadata.contains("tokenizer.ggml.token_type")) {
    RETORT_ASSIGN(const auto types, metadata.get<std::vector<std::int32_t>>("tokenizer.ggml.token_type"));
    RETORT_TRY(expect_length("tokenizer.ggml.token_type", types.size()));
    for (std::size_t i = 0; i < types.size(); ++i) {
      // A byte token is read as <0xHH>; anything shorter would be read past its end.
      const bool hex = tokens[i].size() == 6 && tokens[i].starts_with("<0x") && tokens[i].ends_with(">");
      if (types[i] == 6 && !hex && kind != "rwkv") {
        return caller_error("The file's vocabulary is corrupt: token " + std::to_string(i) +
                            " is marked as a byte but isn't written as <0xHH>.");
      }
    }
  }
  if (const Value* scores = metadata.find_value("tokenizer.ggml.scores"); scores != nullptr) {
    std::size_t length = 0;
    if (const auto* floats = std::get_if<std::vector<float>>(scores)) {
      length = floats->size();
    } else if (const auto* integers = std::get_if<std::vector<std::int32_t>>(scores)) {
      length = integers->size();
    } else {
      return caller_error("The metadata key 'tokenizer.ggml.scores' is of type " + type_text(*scores) +
                          "; expected an array of f32.");
    }
    RETORT_TRY(expect_length("tokenizer.ggml.scores", length));
  }
  if (metadata.contains("tokenizer.ggml.merges")) {
    RETORT_TRY(metadata.get<std::vector<std::string>>("tokenizer.ggml.merges"));
  }
  return {};
}

}  // namespace retort::gguf
