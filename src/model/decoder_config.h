// The shape of a decoder: one for the families Llama (SmolLM2, Llama 2 and 3.x, Mistral, TinyLlama), Qwen2 and 2.5, and
// Qwen3, which differ by the options below. A plain value; no libtorch here.
//
// decoder_config() is strict: every key and every tensor of the file is either consumed or known to say nothing about
// the computation; anything else is refused by a sentence that names it, because a decoder that ignores what it doesn't
// know computes something else than the file means.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json_fwd.h"

namespace retort::gguf {
class File;
class Metadata;
}  // namespace retort::gguf

namespace retort::model {

struct DecoderConfig {
  std::string architecture = "llama";  // GGUF's name of the family: llama, qwen2 or qwen3
  std::int64_t layers = 0;
  std::int64_t hidden = 0;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;  // divides heads
  std::int64_t head_dim = 0;  // even; heads * head_dim need not be hidden
  std::int64_t intermediate = 0;
  std::int64_t vocabulary = 0;
  std::int64_t context = 0;  // positions the file says it was trained for
  double rms_epsilon = 1e-5;
  double rope_theta = 10000.0;
  double rope_scale = 1.0;          // position interpolation: angles are divided by it
  std::vector<float> rope_factors;  // empty, or head_dim / 2 divisors of the frequencies (Llama 3's rope_freqs)
  // 0: rope_scale applies to every frequency alike (linear). Else YaRN (arXiv 2309.00071, section 3.2): only to those
  // that don't turn often in this many positions, what the model knew before it was extended.
  std::int64_t yarn_context = 0;
  double rope_magnitude = 1.0;  // cosine and sine are multiplied by it: YaRN's attention factor
  std::int64_t window = 0;      // a position sees itself and the window - 1 before it; 0: all
  bool qkv_bias = false;        // attn_q.bias, attn_k.bias, attn_v.bias are added to the projections
  bool qk_norm = false;         // RMSNorm of every query and key head before the rotation
  bool tied_head = true;        // the head is token_embd: one parameter, one gradient, no output.weight
  std::vector<std::int64_t>
      source_layers;  // which layers of the original file these are: 0..layers-1 for a whole model

  bool operator==(const DecoderConfig&) const = default;
};

// Error (kCaller): architecture, key, tensor or value that isn't supported, by name; a tensor of the wrong shape; one
// that is missing.
Result<DecoderConfig> decoder_config(const gguf::File& file);

// Writes everything that decoder_config() reads from keys: general.architecture and the architecture's own. What the
// metadata held under an architecture's keys before is removed. rope_factors are a tensor, not a key.
void set_hyperparameters(const DecoderConfig& config, gguf::Metadata& metadata);

// Turns in the original context between which YaRN blends from scaled to plain frequencies: the paper's for Llama, and
// what llama.cpp computes these families with.
inline constexpr double kYarnBetaFast = 32;
inline constexpr double kYarnBetaSlow = 1;
// YaRN's attention factor where a model doesn't give its own (arXiv 2309.00071, equation 22).
double yarn_magnitude(double rope_scale);

// The names of the tensors a decoder of this shape consists of, in GGUF's names and in file order
// (docs/formats/weights.md): token_embd.weight, blk.N.…, output_norm.weight, output.weight when untied. rope_freqs
// is part of the config instead.
std::vector<std::string> tensor_names(const DecoderConfig& config);

// Shape of a tensor of that name, rows first: {out, in} for matrices, {n} for norms and biases. Empty for a name that
// isn't one.
std::vector<std::int64_t> tensor_shape(const DecoderConfig& config, const std::string& name);

// The config of the same model with only these layers, ascending numbers of `config`.
// Error (kCaller): empty, not ascending, or out of range.
Result<DecoderConfig> cut_config(const DecoderConfig& config, std::span<const std::int64_t> layers);

// Whether `student` has layers of `teacher`, as numbered there, between states of the same width and a vocabulary of
// the same size; it may be narrower inside its layers.
bool is_cut_of(const DecoderConfig& student, const DecoderConfig& teacher);

// The name that a tensor of the cut model has in the model it was cut from: block N is block layers[N] there.
std::string name_before_cut(const std::string& name, std::span<const std::int64_t> layers);

// Parameters of all tensors, and of those that multiply a token (the head included, the embedding look-up not).
std::int64_t parameter_count(const DecoderConfig& config);
std::int64_t matmul_parameter_count(const DecoderConfig& config);

Json to_json(const DecoderConfig& config);
Result<DecoderConfig> decoder_config_from_json(const Json& json, const std::string& what);

}  // namespace retort::model
