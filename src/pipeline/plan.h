// What a run would do, before it is paid for: per stage whether it is done, and time, memory, disk and tokens
// estimated.
//
// Measures this machine for a few seconds (batched decoding by type, matrix products), computes the rest, and makes the
// checks of the training on a few exchanges (pipeline/plan_checks.h); writes nothing into the run folder. One thread at
// a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "collect/remote_estimate.h"
#include "pipeline/pipeline.h"
#include "train/preflight.h"

namespace retort::pipeline {

struct PlannedStage {
  std::string name;
  bool done = false;  // in the run folder, with the same recipe so far as can be told without running
  double seconds = 0;
  std::int64_t tokens = 0;
  std::int64_t memory_bytes = 0;
  std::int64_t disk_bytes = 0;
  std::string what;  // in words
};

struct Plan {
  std::string name;
  std::string teacher;
  std::string compute;  // type and why
  std::vector<PlannedStage> stages;
  double seconds = 0;             // of what isn't done
  std::int64_t memory_bytes = 0;  // the most at a time
  std::int64_t disk_bytes = 0;
  std::uint64_t free_disk_bytes = 0;
  std::vector<train::Check> checks;  // of the training, on exchanges the teacher answered for the plan
  std::string unchecked;             // why there are none
  // What asking a teacher behind an API will use; absent: it is a file.
  std::optional<collect::RemoteEstimate> service;
};

Result<Plan> plan(const RunRequest& request, Clock& clock, Progress& progress, std::stop_token stop);
Json to_json(const Plan& plan);

}  // namespace retort::pipeline
