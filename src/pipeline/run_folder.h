// The folder of one run, held by one process at a time.
//
//   runs/NAME/manifest.json, recipe.yaml, lock, scorecard.json, report.html, metrics.jsonl
//             collect/ curate/ dataset/ train/ export/ evaluate/ bundle/
//
// A RunFolder owns the lock and the manifest; one thread.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "pipeline/manifest.h"

namespace retort::pipeline {

class RunFolder {
 public:
  // Opens or makes runs_folder/name and locks it. Errors: kCaller when another process holds it (its id is named), when
  // the folder is something else, or its manifest is of a newer version; kWorld when it can't be written.
  static Result<RunFolder> open(const std::filesystem::path& runs_folder, const std::string& name, const Clock& clock);

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path of(const std::string& relative) const { return path_ / relative; }
  Manifest& manifest() { return manifest_; }
  const Manifest& manifest() const { return manifest_; }
  Result<void> save() const { return save_manifest(manifest_, path_ / "manifest.json"); }

 private:
  RunFolder(std::filesystem::path path, Manifest manifest, FileLock lock)
      : path_(std::move(path)), manifest_(std::move(manifest)), lock_(std::move(lock)) {}
  std::filesystem::path path_;
  Manifest manifest_;
  FileLock lock_;
};

// The record of a file of the run, its bytes digested now. `relative` to `folder`.
Result<OutputRecord> record_output(const std::filesystem::path& folder, const std::string& relative);
// Whether the outputs are there with the bytes that were recorded. The sentence says which isn't; empty: all are.
Result<std::string> find_changed_output(const std::filesystem::path& folder, const StageRecord& stage);

}  // namespace retort::pipeline
