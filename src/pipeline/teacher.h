// The teacher's file, opened and checked once: architecture, weights, chat template, licence.
//
// Owns the mapped file; movable; const functions may be called from any thread. No engine is opened here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/clock.h"
#include "base/digest.h"
#include "base/error.h"
#include "exchange/exchange.h"
#include "gguf/file.h"
#include "model/decoder_config.h"
#include "recipe/recipe.h"
#include "terms/terms.h"
#include "tokens/chat_format.h"

namespace retort::pipeline {

struct Teacher {
  gguf::File file;
  Digest digest;  // of the file
  model::DecoderConfig config;
  tokens::ChatFormat format;
  terms::Decision terms;
  std::string name;  // general.name, else the file's name

  ModelIdentity identity(const std::string& run_as) const { return {name, digest, format.template_digest(), run_as}; }
};

// Errors (kCaller): no such model; not GGUF, damaged; an architecture or tensor that isn't supported; NaN in weights;
// no chat template; terms that stop the run, with what to write in the recipe.
// `query`: what is asked of terms; what the file says of itself is filled in.
Result<Teacher> open_teacher(const std::string& path_or_name, terms::Query query,
                             const std::filesystem::path& cache_folder);

// What the recipe asks of terms: who, through whom, for what, and how much of the teacher goes into the student.
terms::Query teacher_query(const recipe::Recipe& recipe, const Clock& clock);

// The file's weights in another type, converted once and kept in the cache under the file's digest (the same copies
// that llama::fastest_type makes).
Result<std::filesystem::path> converted_copy(const gguf::File& file, const Digest& digest, gguf::TensorType type,
                                             const std::filesystem::path& cache_folder);
std::filesystem::path converted_folder(const std::filesystem::path& cache_folder);

// Bytes that the matrices and norms of `file` take in another type, without converting it.
std::uint64_t size_in_type(const gguf::File& file, gguf::TensorType type);

}  // namespace retort::pipeline
