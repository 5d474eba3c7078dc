#include "pipeline/run_folder.h"

#include "base/version.h"

namespace retort::pipeline {

Result<RunFolder> RunFolder::open(const std::filesystem::path& runs_folder, const std::string& name,
                                  const Clock& clock) {
  const std::filesystem::path path = runs_folder / name;
  const std::filesystem::path manifest_path = path / "manifest.json";
  std::error_code error;
  const bool existed = std::filesystem::exists(path, error);
  if (existed && !std::filesystem::is_directory(path, error)) {
    return caller_error("'" + path.string() + "' is not a folder. Give the run another name (key name).");
  }
  const bool has_manifest = std::filesystem::exists(manifest_path, error);
  if (existed && !has_manifest) {
    // A folder with our lock and nothing else was left by a process that was killed early.
    for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
      const std::string entry_name = entry.path().filename().string();
      if (entry_name != "lock" && !entry_name.starts_with("manifest.json") && !entry_name.starts_with(".")) {
        return caller_error("The folder '" + path.string() + "' exists and is not a run of ours (it holds '" +
                            entry_name +
                            "' and no manifest.json). Give the run another name (key name), or remove the folder.");
      }
    }
  }
  // At the start a place that can't be written to is the caller's choice, not the world's accident.
  const auto unusable = [&](const Error& fault) {
    return caller_error("The run '" + name + "' can't be worked on: " + fault.message);
  };
  if (const auto made = make_folder(path); !made) return unusable(made.error());
  auto lock = FileLock::acquire(path / "lock");
  if (!lock) return unusable(lock.error());
  Manifest manifest;
  if (has_manifest) {
    RETORT_ASSIGN(manifest, load_manifest(manifest_path));
  } else {
    manifest.name = name;
    manifest.created_at = iso_time(clock.unix_ms());
  }
  manifest.code_version = kVersion;
  return RunFolder(path, std::move(manifest), std::move(*lock));
}

Result<OutputRecord> record_output(const std::filesystem::path& folder, const std::string& relative) {
  OutputRecord output;
  output.path = relative;
  RETORT_ASSIGN(output.digest, sha256_file(folder / relative));
  std::error_code error;
  output.size_bytes = std::filesystem::file_size(folder / relative, error);
  if (error)
    return world_error("The size of '" + (folder / relative).string() + "' can't be read: " + error.message() + ".");
  return output;
}

Result<std::string> find_changed_output(const std::filesystem::path& folder, const StageRecord& stage) {
  for (const OutputRecord& output : stage.outputs) {
    const std::filesystem::path path = folder / output.path;
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error)) return output.path + " is gone";
    if (std::filesystem::file_size(path, error) != output.size_bytes) return output.path + " has another size";
    RETORT_ASSIGN(const Digest digest, sha256_file(path));
    if (digest != output.digest) return output.path + " was changed";
  }
  return std::string();
}

}  // namespace retort::pipeline
