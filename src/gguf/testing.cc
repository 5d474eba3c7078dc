#include "gguf/testing.h"

#include <cmath>
#include <string>
#include <vector>

#include "base/random.h"
#include "gguf/writer.h"

namespace retort::gguf::testing {
namespace {

// GPT-2's byte alphabet ("Language Models are Unsupervised Multitask Learners", bytes_to_unicode): printable bytes
// stand for themselves, the others for the code points from 256 on.
std::vector<std::string> byte_alphabet() {
  std::vector<std::string> alphabet(256);
  int next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    const int point = printable ? byte : next++;
    if (point < 0x80) {
      alphabet[static_cast<std::size_t>(byte)] = std::string(1, static_cast<char>(point));
    } else {
      alphabet[static_cast<std::size_t>(byte)] = {static_cast<char>(0xC0 | (point >> 6)),
                                                  static_cast<char>(0x80 | (point & 0x3F))};
    }
  }
  return alphabet;
}

constexpr const char* kMerges[] = {"h e", "t he", "i n", "a n",   "o u",    "y ou", "r e",   "e r", "o n",
                                   "a t", "i s",  "l l", "he ll", "hell o", "u s",  "us er", "s t", "a ss"};

}  // namespace

std::string tiny_chat_template() {
  return "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
         "{{ '<|im_start|>system\nYou are a tiny test model.<|im_end|>\n' }}{% endif %}"
         "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
         "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
}

Metadata tiny_vocabulary() {
  std::vector<std::string> tokens = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
  std::vector<std::int32_t> types = {3, 3, 3};  // control
  for (const std::string& piece : byte_alphabet()) tokens.push_back(piece);
  std::vector<std::string> merges;
  for (const std::string merge : kMerges) {
    const std::size_t space = merge.find(' ');
    tokens.push_back(merge.substr(0, space) + merge.substr(space + 1));
    merges.push_back(merge);
  }
  types.resize(tokens.size(), 1);  // normal
  Metadata metadata;
  metadata.set("tokenizer.ggml.model", std::string("gpt2"));
  metadata.set("tokenizer.ggml.pre", std::string("smollm"));
  metadata.set("tokenizer.ggml.tokens", std::move(tokens));
  metadata.set("tokenizer.ggml.token_type", std::move(types));
  metadata.set("tokenizer.ggml.merges", std::move(merges));
  metadata.set("tokenizer.ggml.bos_token_id", std::uint32_t{1});
  metadata.set("tokenizer.ggml.eos_token_id", std::uint32_t{2});
  metadata.set("tokenizer.ggml.unknown_token_id", std::uint32_t{0});
  metadata.set("tokenizer.ggml.padding_token_id", std::uint32_t{2});
  metadata.set("tokenizer.ggml.add_space_prefix", false);
  metadata.set("tokenizer.ggml.add_bos_token", false);
  return metadata;
}

std::int64_t tiny_vocabulary_size() {
  return static_cast<std::int64_t>(3 + 256 + sizeof(kMerges) / sizeof(kMerges[0]));
}

Result<void> write_tiny_model(const std::filesystem::path& target, const TinyModelOptions& options) {
  Metadata metadata;
  const std::string arch = options.architecture + ".";
  const auto u32 = [](std::int64_t value) { return static_cast<std::uint32_t>(value); };
  metadata.set("general.architecture", options.architecture);
  metadata.set("general.name", options.name);
  if (!options.license.empty()) metadata.set("general.license", options.license);
  const std::int64_t head_dim = options.head_dim > 0 ? options.head_dim : options.hidden / options.heads;
  if (options.weights) {
    metadata.set("general.file_type", file_type_number(options.type));
    metadata.set("general.quantization_version", std::uint32_t{2});
    metadata.set(arch + "block_count", u32(options.layers));
    metadata.set(arch + "context_length", u32(options.context));
    metadata.set(arch + "embedding_length", u32(options.hidden));
    metadata.set(arch + "feed_forward_length", u32(options.intermediate));
    metadata.set(arch + "attention.head_count", u32(options.heads));
    metadata.set(arch + "attention.head_count_kv", u32(options.kv_heads));
    metadata.set(arch + "rope.freq_base", static_cast<float>(options.rope_theta));
    metadata.set(arch + "rope.dimension_count", u32(head_dim));
    if (options.head_dim > 0) {
      metadata.set(arch + "attention.key_length", u32(head_dim));
      metadata.set(arch + "attention.value_length", u32(head_dim));
    }
    if (!options.rope_scaling.empty()) {
      metadata.set(arch + "rope.scaling.type", options.rope_scaling);
      metadata.set(arch + "rope.scaling.factor", static_cast<float>(options.rope_factor));
    }
    if (options.rope_original_context > 0) {
      metadata.set(arch + "rope.scaling.original_context_length", u32(options.rope_original_context));
    }
    if (options.window > 0) metadata.set(arch + "attention.sliding_window", u32(options.window));
    metadata.set(arch + "attention.layer_norm_rms_epsilon", 1e-5F);
    metadata.set(arch + "vocab_size", u32(tiny_vocabulary_size()));
  }
  const Metadata vocabulary = tiny_vocabulary();
  for (const auto& [key, value] : vocabulary.entries()) metadata.set(key, value);
  if (options.chat_template) metadata.set("tokenizer.chat_template", tiny_chat_template());

  Writer writer(std::move(metadata));
  const auto random_tensor = [&](const std::string& name, std::vector<std::int64_t> shape, double deviation) {
    std::int64_t count = 1;
    for (const std::int64_t length : shape) count *= length;
    const bool vector = shape.size() == 1;
    const bool norm = vector && name.ends_with(".weight");
    const TensorType type = vector ? TensorType::kF32 : fitting_type(options.type, shape.front());
    const std::uint64_t seed = derive_seed(options.seed, name);
    writer.add(name, std::move(shape), type, [=]() -> Result<std::vector<float>> {
      Random random(seed);
      std::vector<float> values(static_cast<std::size_t>(count));
      // Norms lie around one, biases and matrices around zero.
      for (float& value : values) value = static_cast<float>((norm ? 1.0 : 0.0) + deviation * random.normal());
      return values;
    });
  };
  if (options.weights) {
    const std::int64_t hidden = options.hidden;
    const std::int64_t queries = options.heads * head_dim;
    const std::int64_t kv = options.kv_heads * head_dim;
    const double in = 1.0 / std::sqrt(static_cast<double>(hidden));
    random_tensor("token_embd.weight", {hidden, tiny_vocabulary_size()}, 0.3);
    random_tensor("output_norm.weight", {hidden}, 0.1);
    if (!options.tied_head) random_tensor("output.weight", {hidden, tiny_vocabulary_size()}, 0.3);
    if (options.rope_freqs) {
      writer.add("rope_freqs.weight", {head_dim / 2}, TensorType::kF32, [=]() -> Result<std::vector<float>> {
        std::vector<float> values(static_cast<std::size_t>(head_dim / 2), 1.0F);
        for (std::size_t i = values.size() / 2; i < values.size(); ++i) values[i] = 4.0F;
        return values;
      });
    }
    for (std::int64_t layer = 0; layer < options.layers; ++layer) {
      const std::string block = "blk." + std::to_string(layer) + ".";
      random_tensor(block + "attn_norm.weight", {hidden}, 0.1);
      random_tensor(block + "attn_q.weight", {hidden, queries}, in);
      random_tensor(block + "attn_k.weight", {hidden, kv}, in);
      random_tensor(block + "attn_v.weight", {hidden, kv}, in);
      if (options.architecture == "qwen2" || options.qkv_bias) {
        random_tensor(block + "attn_q.bias", {queries}, 0.3);
        random_tensor(block + "attn_k.bias", {kv}, 0.3);
        random_tensor(block + "attn_v.bias", {kv}, 0.3);
      }
      if (options.architecture == "qwen3") {
        random_tensor(block + "attn_q_norm.weight", {head_dim}, 0.3);
        random_tensor(block + "attn_k_norm.weight", {head_dim}, 0.3);
      }
      random_tensor(block + "attn_output.weight", {queries, hidden}, in);
      random_tensor(block + "ffn_norm.weight", {hidden}, 0.1);
      random_tensor(block + "ffn_gate.weight", {hidden, options.intermediate}, in);
      random_tensor(block + "ffn_up.weight", {hidden, options.intermediate}, in);
      random_tensor(block + "ffn_down.weight", {options.intermediate, hidden},
                    1.0 / std::sqrt(static_cast<double>(options.intermediate)));
    }
  }
  return writer.write(target);
}

}  // namespace retort::gguf::testing
