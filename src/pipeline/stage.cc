#include "pipeline/stage.h"

#include <algorithm>

#include "collect/collect_options.h"
#include "evaluate/evaluate_options.h"
#include "pipeline/manifest.h"
#include "pipeline/run_options.h"
#include "pipeline/student_start.h"

namespace retort::pipeline {
namespace {

Result<Json> no_files(const recipe::Recipe&) { return Json::object(); }

Result<Json> prompt_file(const recipe::Recipe& recipe) {
  const auto options = recipe.get(collect::collect_option_set());
  Json files = Json::object();
  if (!options.self_generated()) {
    RETORT_ASSIGN(const Digest digest, sha256_file(options.prompts_file()));
    files["prompts"] = digest.hex();
  }
  return files;
}

Result<Json> text_file(const recipe::Recipe& recipe) {
  const auto options = recipe.get(evaluate::evaluate_option_set());
  Json files = Json::object();
  if (!options.text.empty()) {
    RETORT_ASSIGN(const Digest digest, sha256_file(options.text));
    files["text"] = digest.hex();
  }
  return files;
}

// What the terms are judged by changes what is exported: the name, and what the files say. The default adds nothing, so
// that runs made before there was more to say keep their keys.
Result<Json> facts_of_terms(const recipe::Recipe& recipe) {
  Json files = Json::object();
  const auto teacher = recipe.get(run_option_set()).teacher;
  if (!(teacher.terms == collect::TeacherTermsOptions()) || !teacher.route.empty()) {
    using Codec = recipe::Codec<collect::TeacherTermsOptions>;
    files["terms"] = recipe::to_yaml(Codec::write(teacher.terms));
    files["route"] = teacher.route;
  }
  return files;
}

}  // namespace

std::span<const Stage> stages() {
  using Leftovers = Stage::Leftovers;
  static const std::vector<Stage> list = {
      {"collect", 1, {"collect", "terms"}, {}, Leftovers::kKeep, prompt_file, run_collect},
      {"curate", 1, {"curate"}, {"collect"}, Leftovers::kRemove, no_files, run_curate},
      {"dataset", 1, {"evaluate.held_out", "collect.seed"}, {"curate"}, Leftovers::kRemove, no_files, run_dataset},
      {"train", 1, {"student", "train"}, {"dataset"}, Leftovers::kKeepForSameKey, student_source_digests, run_train},
      {"export", 2, {"export", "name", "terms"}, {"dataset", "train"}, Leftovers::kRemove, facts_of_terms, run_export},
      {"evaluate", 2, {"evaluate", "collect"}, {"dataset", "export"}, Leftovers::kRemove, text_file, run_evaluate},
      {"bundle",
       2,
       {"export", "name", "terms"},
       {"curate", "dataset", "train", "export", "evaluate"},
       Leftovers::kRemove,
       no_files,
       run_bundle},
      {"report",
       1,
       {"name"},
       {"collect", "curate", "dataset", "train", "export", "evaluate"},
       Leftovers::kRemove,
       no_files,
       run_report},
  };
  return list;
}

Result<std::map<std::string, StageRecord>> kept_stages(const recipe::Recipe& recipe,
                                                       const std::filesystem::path& folder, const Models& models) {
  std::map<std::string, StageRecord> kept;
  std::error_code error;
  if (!std::filesystem::exists(folder / "manifest.json", error)) return kept;
  RETORT_ASSIGN(const Manifest manifest, load_manifest(folder / "manifest.json"));
  for (const Stage& stage : stages()) {
    const bool grounded = std::all_of(stage.after.begin(), stage.after.end(),
                                      [&](const std::string& earlier) { return kept.contains(earlier); });
    const StageRecord* record = manifest.find(std::string(stage.name));
    if (!grounded || record == nullptr || !record->done) continue;
    RETORT_ASSIGN(const Digest key, stage_key(stage, recipe, models, manifest));
    const bool there = std::all_of(record->outputs.begin(), record->outputs.end(), [&](const OutputRecord& output) {
      return std::filesystem::exists(folder / output.path, error);
    });
    if (key == record->key && there) kept.emplace(record->name, *record);
  }
  return kept;
}

Result<Digest> stage_key(const Stage& stage, const recipe::Recipe& recipe, const Models& models,
                         const Manifest& manifest) {
  Json inputs = Json::object();
  for (const std::string& earlier : stage.after) {
    const StageRecord* record = manifest.find(earlier);
    RETORT_CHECK(record != nullptr && record->done);
    inputs[earlier] = record->content.hex();
  }
  RETORT_ASSIGN(const Json files, stage.files(recipe));
  Json key = {{"stage", stage.name},
              {"version", stage.version},
              {"options", recipe.digest_of(stage.options).hex()},
              {"teacher", models.teacher.identity.hex()},
              {"inputs", inputs},
              {"files", files}};
  if (!models.teacher.at_hand) key["base"] = models.local.digest.hex();
  return sha256(canonical_json(key));
}

Result<Json> read_json(const RunFolder& folder, const std::string& relative) {
  const std::filesystem::path path = folder.of(relative);
  RETORT_ASSIGN(const std::string text, read_file(path));
  return parse_json(text, path.string());
}

Result<void> write_json(const RunFolder& folder, const std::string& relative, const Json& json) {
  return write_file(folder.of(relative), json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace retort::pipeline
