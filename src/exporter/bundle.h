// A bundle: everything that is shipped with a student, in one folder, with the digests of all (docs/formats/bundle.md).
//
//   NAME-F16.gguf, NAME-Q8_0.gguf, README.md, lineage.json, dataset.json, recipe.yaml, scorecard.json, bundle.json,
//   SHA256SUMS, NOTICE and licences where the teacher's terms ask for them, and huggingface/ with config.json and
//   model.safetensors where it was asked for
//
// write_bundle() makes it beside the target and renames: a bundle is whole or not there. verify_bundle() needs no
// engine, and no run. One thread.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "exporter/lineage.h"
#include "exporter/model_card.h"
#include "store/exchange_store.h"

namespace retort::exporter {

struct BundleInput {
  CardFacts card;  // `files` is filled in here
  std::string recipe_yaml;
  std::vector<std::filesystem::path> models;  // GGUF files of write_student(); they keep their names
  std::filesystem::path hugging_face;         // a folder of write_hugging_face(); empty: none
  std::filesystem::path dataset;              // dataset.json
  Json proof = Json::object();                // what check_agreement() saw, by file name: kept, not read
};

// Replaces `folder`. Error: kCaller when a model's lineage isn't the card's, or a file is missing; kWorld for the disk.
Result<void> write_bundle(const BundleInput& input, const std::filesystem::path& folder);

enum class CheckState { kPassed, kFailed, kNotChecked };
std::string_view name_of(CheckState state);  // "passed", "failed", "not_checked"

struct Check {
  std::string subject;  // "lineage.json", "exchanges"
  CheckState state = CheckState::kPassed;
  std::string sentence;  // what was seen
};

struct VerifyReport {
  std::vector<Check> checks;  // in the order of the walk: files, models, lineage, dataset, exchanges, teacher
  bool passed() const;        // nothing failed
};
Json to_json(const VerifyReport& report);

// Every digest, and the walk back: bundle -> models -> weights -> dataset -> exchanges -> teacher. `store`: where the
// exchanges are; without it they are named and not checked. `teacher`: its file, if at hand.
// Error (kCaller): the folder is no bundle, or one of a newer version. What is wrong with a bundle is in the report.
Result<VerifyReport> verify_bundle(const std::filesystem::path& folder, const store::ExchangeStore* store,
                                   const std::optional<std::filesystem::path>& teacher, Progress& progress);

}  // namespace retort::exporter
