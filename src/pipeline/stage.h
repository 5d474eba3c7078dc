// A stage of a run: what it depends on, and the work.
//
// Its key is the digest of (its name, its version, its part of the recipe, what decides the teacher's answers, the
// local model where it is another, the content of the stages it builds on, files of the user's). The same key means the
// same work, so a finished stage with an unchanged key isn't repeated. Stages know nothing of one another but the files
// in the run folder.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "pipeline/prompt_check.h"
#include "pipeline/remote_collection.h"
#include "pipeline/run_folder.h"
#include "pipeline/teacher.h"
#include "recipe/recipe.h"

namespace retort::train {
class Ranks;
}

namespace retort::pipeline {

// Borrowed for the length of a run.
struct StageContext {
  const recipe::Recipe& recipe;
  RunFolder& folder;
  const Models& models;
  const LocalModel& local;  // of models
  const Teacher& teacher;   // of models
  std::filesystem::path cache_folder;
  Clock& clock;
  Progress& progress;
  std::stop_token stop;
  train::Ranks& ranks;           // alone, or the first of several
  int local_ranks = 1;           // on this machine
  std::string device = "auto";   // train.device, as all ranks can have it
  Environment environment = {};  // where the keys of a served teacher are
  // What was read before the stages; none: collecting was found done.
  const CheckedPrompts* prompts = nullptr;
};

struct StageResult {
  // Files, relative to the run folder, whose bytes are what was made: the keys of later stages are built from them, so
  // no times or speeds belong in them.
  std::vector<std::string> content;
  // Further files: recorded and checked, but they don't change what follows.
  std::vector<std::string> records;
  std::int64_t tokens = 0;
  std::string summary;
};

struct Stage {
  std::string_view name;
  std::int64_t version;              // raised when the code would make something else of the same input
  std::vector<std::string> options;  // prefixes of the recipe
  std::vector<std::string> after;    // stages whose content goes into the key
  // What an earlier attempt left in the stage's folder: kept always (it is addressed by content), kept under the same
  // key (to be resumed), or removed.
  enum class Leftovers { kKeep, kKeepForSameKey, kRemove } leftovers;
  // Digests of the user's own files that the stage reads; may be empty.
  Result<Json> (*files)(const recipe::Recipe&);
  Result<StageResult> (*run)(StageContext&);
};

// In the order they run: collect, curate, dataset, train, export, evaluate, bundle, report.
std::span<const Stage> stages();

// The stages of a run's folder that are done and would be kept. Outputs are looked for, not digested.
Result<std::map<std::string, StageRecord>> kept_stages(const recipe::Recipe& recipe,
                                                       const std::filesystem::path& folder, const Models& models);

// The key of a stage; the stages it builds on must be done in `manifest`.
Result<Digest> stage_key(const Stage& stage, const recipe::Recipe& recipe, const Models& models,
                         const Manifest& manifest);

// The work of each stage: one file each, stage_<name>.cc.
Result<StageResult> run_collect(StageContext& context);
Result<StageResult> run_curate(StageContext& context);
Result<StageResult> run_dataset(StageContext& context);
Result<StageResult> run_train(StageContext& context);
Result<StageResult> run_export(StageContext& context);
Result<StageResult> run_evaluate(StageContext& context);
Result<StageResult> run_bundle(StageContext& context);
Result<StageResult> run_report(StageContext& context);

// As many sequences at once as their caches of keys and values leave room for; each of `needed` tokens, rounded up.
struct CollectSequences {
  std::size_t context_tokens = 0;
  std::size_t parallel = 0;
  std::size_t cache_bytes = 0;  // of all of them
};
CollectSequences collect_sequences(const model::DecoderConfig& config, std::size_t needed);

// ---- for the stages ----
// Reads or writes a JSON file of the run.
Result<Json> read_json(const RunFolder& folder, const std::string& relative);
Result<void> write_json(const RunFolder& folder, const std::string& relative, const Json& json);

}  // namespace retort::pipeline
