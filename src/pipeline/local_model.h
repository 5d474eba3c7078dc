// The model's file that a run works with on this machine, opened and checked once: architecture, weights, tokenizer,
// chat template, licence. It is the teacher's own where that is at hand, else the one the student begins from.
//
// Owns the mapped file; movable; const functions may be called from any thread. No engine is opened here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "base/digest.h"
#include "base/error.h"
#include "exchange/exchange.h"
#include "gguf/file.h"
#include "model/decoder_config.h"
#include "terms/terms.h"
#include "tokens/chat_format.h"

namespace retort::pipeline {

struct LocalModel {
  gguf::File file;
  Digest digest;  // of the file
  model::DecoderConfig config;
  tokens::ChatFormat format;
  std::string name;                                         // general.name, else the file's name
  std::optional<terms::Decision> own_terms = std::nullopt;  // of its weights, where it isn't the teacher

  ModelIdentity identity(const std::string& run_as) const { return {name, digest, format.template_digest(), run_as}; }
};

// Errors (kCaller): no such model; not GGUF, damaged; an architecture or tensor that isn't supported; NaN in weights;
// no chat template.
Result<LocalModel> open_local_model(const std::string& path_or_name, const std::filesystem::path& cache_folder);

// The file's weights in another type, converted once and kept in the cache under the file's digest (the same copies
// that llama::fastest_type makes).
Result<std::filesystem::path> converted_copy(const LocalModel& model, gguf::TensorType type,
                                             const std::filesystem::path& cache_folder);
// A file of full precision needs no copy in F16 to be compared with.
bool is_its_own_reference(const LocalModel& model);
std::filesystem::path converted_folder(const std::filesystem::path& cache_folder);

// Bytes that the matrices and norms of `file` take in another type, without converting it.
std::uint64_t size_in_type(const gguf::File& file, gguf::TensorType type);

}  // namespace retort::pipeline
