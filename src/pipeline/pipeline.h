// A run from recipe to report: stage by stage, each done once, resumable at any moment.
//
// What may be relied on: after a kill at any instant the same call goes on; finished work is never lost or repeated;
// two processes never work on one run. The caller owns everything passed in. One thread at a time; libtorch's and
// llama.cpp's threads are never at work together.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "exchange/scorecard.h"
#include "recipe/recipe.h"
#include "train/rank_place.h"

namespace retort::pipeline {

struct RunRequest {
  recipe::Recipe recipe;  // by recipe_schema(); up to `collect` collection_schema() is enough (run_options.h)
  std::filesystem::path runs_folder = "runs";
  std::filesystem::path cache_folder;
  std::string until;    // the last stage to do; empty: all
  std::string command;  // to be shown as the way to repeat the run
  // Of several processes that carry out the same request: the first does all of it, the others help to train.
  train::RankPlace ranks = {};
  // Variables of the environment, for the keys of a served teacher.
  std::function<std::optional<std::string>(const std::string& name)> environment = {};
};

struct StageOutcome {
  std::string name;
  bool kept = false;  // unchanged, not repeated
  double seconds = 0;
  std::int64_t tokens = 0;
  std::string summary;
};

struct RunOutcome {
  std::filesystem::path folder;
  std::vector<StageOutcome> stages;
  std::optional<Scorecard> scorecard;  // when evaluation is done
  double wall_s = 0;                   // of all stages, over all sessions
  std::filesystem::path model;         // the shipped student in the bundle; empty while there is none
  Json training;                       // train/summary.json; null while there is none
};

// Errors: kCaller for a teacher, prompts or terms that won't do, a folder held by another process or of a newer
// version; kWorld for the disk or a lost rank; kInterrupted when stopped: the same call goes on. On ranks other than
// the first the outcome is empty and no run folder is touched.
Result<RunOutcome> run(const RunRequest& request, Clock& clock, Progress& progress, const std::stop_token& stop);

// Writes runs/NAME/report.html again from what the stages left; its path. Error (kCaller): evaluation isn't complete.
Result<std::filesystem::path> write_report(const std::filesystem::path& run_folder);

}  // namespace retort::pipeline
