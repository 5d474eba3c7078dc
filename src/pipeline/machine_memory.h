// What was once measured of this machine, kept in the user's cache: a choice by speed is made once a machine, not once
// a run. Two measurements of a busy machine differ by a factor of ten; were each run to measure anew, the same recipe
// and seed would compute in another type and give other bits.
//
// A file a question, `measured/DIGEST.json`; removing the folder measures anew. Any thread, any number of processes: of
// several that measure at once the first one's answer counts for all. A cache that can't be written is no error.
#pragma once

#include <filesystem>
#include <optional>

#include "base/json.h"

namespace retort::pipeline {

class MachineMemory {
 public:
  // `question`: all that the answer depends on beside the machine; the processor's model and cores are added.
  MachineMemory(const std::filesystem::path& cache_folder, Json question);

  // Nothing: not measured yet, or what is there can't be read.
  std::optional<Json> recall() const;
  // Keeps the answer. Returns the one that counts: what another process kept meanwhile goes first.
  Json keep(const Json& answer) const;

 private:
  std::filesystem::path path_;
  Json question_;
};

}  // namespace retort::pipeline
