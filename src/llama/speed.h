// How fast a model file runs here, and in which type it would run fastest.
//
// Times are measured on the given clock in this process; nothing else should compute meanwhile. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/progress.h"
#include "exchange/exchange.h"
#include "gguf/file.h"
#include "gguf/tensor_type.h"

namespace retort::llama {

// As llama-bench measures: a prompt of prefill_tokens read in one piece, and one sequence decoded token by token.
struct SpeedOptions {
  int threads = 0;
  std::size_t prefill_tokens = 512;
  std::size_t decode_tokens = 64;
  std::size_t repetitions = 3;  // the best of them counts, after one warm-up
};
struct Speed {
  double prefill_tokens_per_s = 0;
  double decode_tokens_per_s = 0;
};
Result<Speed> measure_speed(const std::filesystem::path& gguf, const SpeedOptions& options, const Clock& clock,
                            std::stop_token stop = {});

// Batched decoding from nothing, by which types are compared: `parallel` sequences of `length` tokens each.
Result<double> measure_batched_decode(const std::filesystem::path& gguf, std::size_t parallel, std::size_t length,
                                      int threads, const Clock& clock, const std::stop_token& stop = {});

// What work on many texts makes of a file: `parallel` sequences with `context` tokens behind each are continued
// together, sampling as `sampling` says, and one of that length is read with the logits of all its places. A few
// seconds for a small model.
struct WorkRates {
  double decode_tokens_per_s = 0;
  double read_tokens_per_s = 0;
};
Result<WorkRates> measure_work(const std::filesystem::path& gguf, std::size_t parallel, std::size_t context,
                               const SamplingOptions& sampling, int threads, const Clock& clock,
                               const std::stop_token& stop = {});

struct TypeSpeed {
  gguf::TensorType type = gguf::TensorType::kF32;
  double tokens_per_s = 0;
  std::uint64_t size_bytes = 0;
  std::filesystem::path path;
};
struct TypeProbe {
  TypeSpeed fastest;
  std::vector<TypeSpeed> measured;  // the file's own type first
};

struct TypeProbeOptions {
  int threads = 0;
  std::size_t parallel = 64;
  std::size_t length = 24;  // tokens a sequence, per measurement
};

// Converts `file` to the candidate types (once: the copies lie in cache_folder, named by the file's digest and type)
// and decodes a batch briefly in each. A copy has the same weights up to the rounding of its type: types that hold less
// than the file's own are not candidates.
Result<TypeProbe> fastest_type(const gguf::File& file, const std::filesystem::path& cache_folder,
                               const TypeProbeOptions& options, const Clock& clock, Progress& progress,
                               std::stop_token stop = {});

}  // namespace retort::llama
