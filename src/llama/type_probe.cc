#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>

#include "base/digest.h"
#include "base/files.h"
#include "base/text.h"
#include "gguf/writer.h"
#include "llama/speed.h"

namespace retort::llama {
namespace {

double bits_per_weight(gguf::TensorType type) {
  return 8.0 * static_cast<double>(gguf::block_bytes(type)) / static_cast<double>(gguf::block_length(type));
}

// Types worth trying, and the most bits a weight the original may have so that the copy loses (nearly) nothing: Q8_0
// holds what types below 8 bits hold up to rounding, F16 what any quantised type holds.
struct Candidate {
  gguf::TensorType type;
  double most_bits;
};
constexpr Candidate kCandidates[] = {{gguf::TensorType::kF16, 9.0}, {gguf::TensorType::kQ8_0, 7.0}};

std::string one_decimal(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", value);
  return text;
}

}  // namespace

Result<TypeProbe> fastest_type(const gguf::File& file, const std::filesystem::path& cache_folder,
                               const TypeProbeOptions& options, const Clock& clock, Progress& progress,
                               std::stop_token stop) {
  RETORT_ASSIGN(const gguf::TensorType own_type, gguf::tensor_type_from_name(file.file_type_name()));
  std::vector<TypeSpeed> files = {{own_type, 0, file.size_bytes(), file.path()}};
  const double own_bits = bits_per_weight(own_type);
  std::string digest;
  for (const Candidate& candidate : kCandidates) {
    if (candidate.type == own_type || own_bits > candidate.most_bits) continue;
    if (digest.empty()) {
      RETORT_ASSIGN(const Digest of_file, sha256_file(file.path()));
      digest = of_file.hex();
      RETORT_TRY(make_folder(cache_folder));
    }
    const std::filesystem::path path =
        cache_folder / (digest.substr(0, 32) + "." + std::string(gguf::name_of(candidate.type)) + ".gguf");
    if (!std::filesystem::exists(path)) {
      progress.note("Converting " + file.path().filename().string() + " to " +
                    std::string(gguf::name_of(candidate.type)) + ", once.");
      RETORT_TRY(gguf::convert(file, candidate.type, path));
    }
    std::error_code ignored;
    files.push_back({candidate.type, 0, std::filesystem::file_size(path, ignored), path});
  }

  TypeProbe probe;
  if (files.size() == 1) {
    probe.fastest = files.front();
    probe.measured = std::move(files);
    return probe;
  }
  progress.begin("probe types", static_cast<double>(files.size()), "types");
  for (TypeSpeed& entry : files) {
    RETORT_ASSIGN(entry.tokens_per_s,
                  measure_batched_decode(entry.path, options.parallel, options.length, options.threads, clock, stop));
    probe.measured.push_back(entry);
    progress.advance(static_cast<double>(probe.measured.size()),
                     std::string(gguf::name_of(entry.type)) + " " + one_decimal(entry.tokens_per_s) + " tokens/s");
  }
  probe.fastest =
      *std::max_element(probe.measured.begin(), probe.measured.end(),
                        [](const TypeSpeed& a, const TypeSpeed& b) { return a.tokens_per_s < b.tokens_per_s; });
  progress.end("fastest in " + std::string(gguf::name_of(probe.fastest.type)) + " (" +
               one_decimal(probe.fastest.tokens_per_s) + " tokens/s)");
  return probe;
}

}  // namespace retort::llama
