#include "pipeline/manifest.h"

#include <algorithm>

#include "base/files.h"
#include "base/json.h"

namespace retort::pipeline {
namespace {

constexpr const char* kFormat = "retort-run";

Json to_json(const StageRecord& stage) {
  Json outputs = Json::array();
  for (const OutputRecord& output : stage.outputs) {
    outputs.push_back({{"path", output.path}, {"sha256", output.digest.hex()}, {"size_bytes", output.size_bytes}});
  }
  return {{"name", stage.name},
          {"key", stage.key.hex()},
          {"done", stage.done},
          {"started_at", stage.started_at},
          {"finished_at", stage.finished_at},
          {"seconds", stage.seconds},
          {"peak_bytes", stage.peak_bytes},
          {"tokens", stage.tokens},
          {"summary", stage.summary},
          {"content", stage.content.hex()},
          {"outputs", outputs}};
}

Result<Digest> digest_member(const Json& json, const char* key, const std::string& what) {
  RETORT_ASSIGN(const std::string hex, member<std::string>(json, key, what));
  return Digest::from_hex(hex);
}

Result<StageRecord> stage_from_json(const Json& json, const std::string& what) {
  StageRecord stage;
  RETORT_ASSIGN(stage.name, member<std::string>(json, "name", what));
  RETORT_ASSIGN(stage.key, digest_member(json, "key", what));
  RETORT_ASSIGN(stage.done, member<bool>(json, "done", what));
  RETORT_ASSIGN(stage.started_at, member<std::string>(json, "started_at", what));
  RETORT_ASSIGN(stage.finished_at, member<std::string>(json, "finished_at", what));
  RETORT_ASSIGN(stage.seconds, member<double>(json, "seconds", what));
  stage.peak_bytes = json.value("peak_bytes", std::int64_t{0});  // older manifests lack it
  RETORT_ASSIGN(stage.tokens, member<std::int64_t>(json, "tokens", what));
  RETORT_ASSIGN(stage.summary, member<std::string>(json, "summary", what));
  RETORT_ASSIGN(stage.content, digest_member(json, "content", what));
  RETORT_ASSIGN(const Json outputs, member<Json>(json, "outputs", what));
  for (const Json& entry : outputs) {
    OutputRecord output;
    RETORT_ASSIGN(output.path, member<std::string>(entry, "path", what));
    RETORT_ASSIGN(output.digest, digest_member(entry, "sha256", what));
    RETORT_ASSIGN(output.size_bytes, member<std::uint64_t>(entry, "size_bytes", what));
    stage.outputs.push_back(std::move(output));
  }
  return stage;
}

}  // namespace

const StageRecord* Manifest::find(const std::string& stage) const {
  const auto found = std::find_if(stages.begin(), stages.end(), [&](const StageRecord& s) { return s.name == stage; });
  return found == stages.end() ? nullptr : &*found;
}

StageRecord& Manifest::at(const std::string& stage) {
  for (StageRecord& record : stages) {
    if (record.name == stage) return record;
  }
  stages.push_back({});
  stages.back().name = stage;
  return stages.back();
}

double Manifest::total_seconds() const {
  double seconds = 0;
  for (const StageRecord& stage : stages) seconds += stage.seconds;
  return seconds;
}

Result<Manifest> load_manifest(const std::filesystem::path& path) {
  RETORT_ASSIGN(const std::string text, read_file(path));
  const std::string what = path.string();
  RETORT_ASSIGN(const Json json, parse_json(text, what));
  if (!json.is_object() || json.value("format", Json()) != kFormat) {
    return caller_error(what +
                        " is not the manifest of a run. Give the folder of a run, or another name for a new one.");
  }
  RETORT_ASSIGN(const std::int64_t version, member<std::int64_t>(json, "version", what));
  if (version > kManifestVersion) {
    return caller_error(what + " was written by a newer Retort (format version " + std::to_string(version) +
                        "; this program knows up to " + std::to_string(kManifestVersion) +
                        "). Use that Retort, or another name for the run.");
  }
  Manifest manifest;
  RETORT_ASSIGN(manifest.name, member<std::string>(json, "name", what));
  RETORT_ASSIGN(manifest.code_version, member<std::string>(json, "code_version", what));
  RETORT_ASSIGN(manifest.created_at, member<std::string>(json, "created_at", what));
  RETORT_ASSIGN(manifest.command, member<std::string>(json, "command", what));
  RETORT_ASSIGN(manifest.recipe_digest, digest_member(json, "recipe", what));
  RETORT_ASSIGN(const Json stages, member<Json>(json, "stages", what));
  for (const Json& entry : stages) {
    RETORT_ASSIGN(StageRecord stage, stage_from_json(entry, what));
    manifest.stages.push_back(std::move(stage));
  }
  return manifest;
}

Result<void> save_manifest(const Manifest& manifest, const std::filesystem::path& path) {
  Json stages = Json::array();
  for (const StageRecord& stage : manifest.stages) stages.push_back(to_json(stage));
  const Json json = {{"format", kFormat},
                     {"version", kManifestVersion},
                     {"name", manifest.name},
                     {"code_version", manifest.code_version},
                     {"created_at", manifest.created_at},
                     {"command", manifest.command},
                     {"recipe", manifest.recipe_digest.hex()},
                     {"stages", stages}};
  return write_file(path, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace retort::pipeline
