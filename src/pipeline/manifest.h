// The manifest of a run (docs/formats/run.md): which stages are done, from what, with which outputs.
//
// A plain value; one thread. Written whole or not at all.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/error.h"

namespace retort::pipeline {

inline constexpr std::int64_t kManifestVersion = 1;

struct OutputRecord {
  std::string path;  // relative to the run folder
  Digest digest;     // SHA-256 of its bytes
  std::uint64_t size_bytes = 0;
};

struct StageRecord {
  std::string name;
  Digest key;         // of everything that decides what the stage makes
  bool done = false;  // false: it was started and not finished; what it left may be taken up again under this key
  std::string started_at;
  std::string finished_at;
  double seconds = 0;           // of work, over all attempts that ended orderly
  std::int64_t peak_bytes = 0;  // of the process's memory meanwhile, in the attempt that ended it; 0: not known
  std::int64_t tokens = 0;
  std::string summary;  // one line for people
  Digest content;       // identity of what was made; what the next stages' keys are built from
  std::vector<OutputRecord> outputs;
};

struct Manifest {
  std::string name;
  std::string code_version;
  std::string created_at;
  std::string command;  // to repeat the run
  Digest recipe_digest;
  std::vector<StageRecord> stages;  // in the order they run

  const StageRecord* find(const std::string& stage) const;
  // The record of the stage, made when there is none.
  StageRecord& at(const std::string& stage);
  double total_seconds() const;
};

// Error: kCaller when it is no manifest, damaged, or of a newer version (the sentence says which Retort is needed).
Result<Manifest> load_manifest(const std::filesystem::path& path);
Result<void> save_manifest(const Manifest& manifest, const std::filesystem::path& path);

}  // namespace retort::pipeline
