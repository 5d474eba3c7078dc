// The shape of a Llama-architecture decoder, as a GGUF file says it. A plain value; no libtorch here.
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
}

namespace retort::model {

struct DecoderConfig {
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
  double rope_scale = 1.0;          // linear position interpolation: angles are divided by it
  std::vector<float> rope_factors;  // empty, or head_dim / 2 divisors of the frequencies (Llama 3's rope_freqs)
  bool tied_head = true;            // the head is token_embd: one parameter, one gradient, no output.weight
  std::vector<std::int64_t>
      source_layers;  // which layers of the original file these are: 0..layers-1 for a whole model

  bool operator==(const DecoderConfig&) const = default;
};

// Error (kCaller): architecture, key, tensor or value that isn't supported, by name; a tensor of the wrong shape; one
// that is missing.
Result<DecoderConfig> decoder_config(const gguf::File& file);

// The names of the tensors a decoder of this shape consists of, in GGUF's names and in file order
// (docs/formats/weights.md): token_embd.weight, blk.N.…, output_norm.weight, output.weight when untied. rope_freqs
// is part of the config instead.
std::vector<std::string> tensor_names(const DecoderConfig& config);

// Shape of a tensor of that name, rows first: {out, in} for matrices, {n} for norms. Empty for a name that isn't one.
std::vector<std::int64_t> tensor_shape(const DecoderConfig& config, const std::string& name);

// The config of the same model with only these layers, ascending numbers of `config`.
// Error (kCaller): empty, not ascending, or out of range.
Result<DecoderConfig> cut_config(const DecoderConfig& config, std::span<const std::int64_t> layers);

// Parameters of all tensors, and of those that multiply a token (the head included, the embedding look-up not).
std::int64_t parameter_count(const DecoderConfig& config);
std::int64_t matmul_parameter_count(const DecoderConfig& config);

Json to_json(const DecoderConfig& config);
Result<DecoderConfig> decoder_config_from_json(const Json& json, const std::string& what);

}  // namespace retort::model
