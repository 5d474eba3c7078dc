// Tiny model files for tests: complete enough for llama.cpp to load, generate and score.
//
// Weights are drawn from the seed; the vocabulary is byte-level BPE (GPT-2's byte alphabet and a few merges) with
// <|endoftext|> = 0, <|im_start|> = 1, <|im_end|> = 2 (also eos and padding), and a ChatML template that adds a default
// system message, as SmolLM2's does. Not used by programs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/error.h"
#include "gguf/metadata.h"
#include "gguf/tensor_type.h"

namespace retort::gguf::testing {

struct TinyModelOptions {
  std::int64_t layers = 2;
  std::int64_t hidden = 64;  // a multiple of heads and, for quantised types, of 32
  std::int64_t heads = 4;
  std::int64_t head_dim = 0;  // 0: hidden / heads
  std::int64_t kv_heads = 2;
  std::int64_t intermediate = 96;
  std::int64_t context = 512;
  double rope_theta = 10000.0;
  std::string rope_scaling = "";  // "linear", "yarn"; empty: no key
  double rope_factor = 4.0;
  std::int64_t rope_original_context = 0;  // 0: no key
  std::int64_t window = 0;                 // 0: no key
  bool tied_head = true;                   // no output.weight
  bool qkv_bias = false;                   // as qwen2 has; in its own file order in llama's
  bool rope_freqs = false;                 // a rope_freqs.weight tensor that isn't all ones
  bool chat_template = true;
  bool weights = true;                 // false: a vocabulary-only file
  TensorType type = TensorType::kF32;  // of the matrices
  std::string architecture = "llama";  // qwen2 adds biases of queries, keys and values; qwen3 norms of query and key
  std::string license = "apache-2.0";  // empty: no key
  std::string name = "Tiny test model";
  std::uint64_t seed = 1;
};

// The template of tiny files: ChatML with a default system message.
std::string tiny_chat_template();
// Vocabulary of tiny files: its keys (tokenizer.*) alone.
Metadata tiny_vocabulary();
// Number of tokens in it.
std::int64_t tiny_vocabulary_size();

Result<void> write_tiny_model(const std::filesystem::path& target, const TinyModelOptions& options = {});

}  // namespace retort::gguf::testing
