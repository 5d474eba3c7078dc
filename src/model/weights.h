// Weights of a checkpoint: FP32 masters in a safetensors file, the config in its metadata (docs/formats/weights.md).
//
// Metadata: "format" = "retort-weights", "version" = "1", "config" = to_json(DecoderConfig), and the caller's own
// entries. Tensors: GGUF's names, F32, half-split (model/rotary_layout.h). Written whole or not at all.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/decoder.h"

namespace retort::model {

// Tensors of float types are stored as F32. `more`: further metadata (must not use the names above).
Result<void> save_weights(const std::filesystem::path& path, const DecoderConfig& config,
                          std::span<const NamedTensor> tensors, const std::map<std::string, std::string>& more = {});

struct LoadedWeights {
  DecoderConfig config;
  std::vector<NamedTensor> tensors;  // FP32, own memory, in the order of tensor_names(config)
  std::map<std::string, std::string> more;
};
// Error (kCaller): damaged, another format, a newer version, tensors that don't fit the config.
Result<LoadedWeights> load_weights(const std::filesystem::path& path);

}  // namespace retort::model
