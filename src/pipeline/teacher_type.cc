#include "pipeline/teacher_type.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "base/json.h"
#include "base/version.h"
#include "pipeline/machine_memory.h"

namespace retort::pipeline {
namespace {

Json to_json(const llama::TypeProbe& probe) {
  Json measured = Json::array();
  for (const llama::TypeSpeed& speed : probe.measured) {
    measured.push_back({{"type", gguf::name_of(speed.type)}, {"tokens_per_s", speed.tokens_per_s}});
  }
  return measured;
}

Result<llama::TypeProbe> probe_from_json(const Json& json, const LocalModel& local,
                                         const std::filesystem::path& cache_folder) {
  llama::TypeProbe probe;
  for (const Json& entry : json) {
    llama::TypeSpeed speed;
    RETORT_ASSIGN(const std::string type, member<std::string>(entry, "type", "the cache"));
    RETORT_ASSIGN(speed.type, gguf::tensor_type_from_name(type));
    RETORT_ASSIGN(speed.tokens_per_s, member<double>(entry, "tokens_per_s", "the cache"));
    probe.measured.push_back(std::move(speed));
  }
  if (probe.measured.empty()) return world_error("The cache has no speeds.");
  llama::TypeSpeed& fastest =
      *std::max_element(probe.measured.begin(), probe.measured.end(),
                        [](const auto& a, const auto& b) { return a.tokens_per_s < b.tokens_per_s; });
  fastest.path = local.file.path();
  if (gguf::name_of(fastest.type) != local.file.file_type_name()) {
    RETORT_ASSIGN(fastest.path, converted_copy(local, fastest.type, cache_folder));
  }
  std::error_code ignored;
  fastest.size_bytes = std::filesystem::file_size(fastest.path, ignored);
  probe.fastest = fastest;
  return probe;
}

}  // namespace

Result<llama::TypeProbe> fastest_type_once(const LocalModel& local, const std::filesystem::path& cache_folder,
                                           const Clock& clock, Progress& progress, std::stop_token stop) {
  const MachineMemory memory(cache_folder,
                             {{"measured", "decoding"}, {"program", kVersion}, {"model", local.digest.hex()}});
  if (const std::optional<Json> known = memory.recall()) {
    if (auto probe = probe_from_json(*known, local, cache_folder)) return std::move(*probe);
  }
  RETORT_ASSIGN(llama::TypeProbe measured,
                llama::fastest_type(local.file, converted_folder(cache_folder), {}, clock, progress, std::move(stop)));
  if (measured.measured.size() < 2) return measured;  // no choice, nothing measured
  return probe_from_json(memory.keep(to_json(measured)), local, cache_folder).value_or(measured);
}

}  // namespace retort::pipeline
