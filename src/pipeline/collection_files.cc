#include "pipeline/collection_files.h"

#include <string>
#include <utility>

#include "collect/prompt_intake.h"
#include "pipeline/run_files.h"
#include "pipeline/stage.h"

namespace retort::pipeline {
namespace {

Json to_json(const collect::PromptIntake& intake, const std::string& mode) {
  Json kinds = Json::object();
  for (const collect::PersonalKind kind : collect::kPersonalKinds) {
    if (intake.personal_data.of(kind) > 0) kinds[std::string(name_of(kind))] = intake.personal_data.of(kind);
  }
  Json skipped = Json::array();
  for (const collect::BrokenRow& row : intake.file.first_skipped) {
    skipped.push_back({{"line", row.line}, {"why", row.why}});
  }
  return {{"rows", intake.file.rows},
          {"skipped", intake.file.skipped},
          {"first_skipped", std::move(skipped)},
          {"personal_data", std::move(kinds)},
          {"personal_data_mode", mode},
          {"personal_data_words", intake.personal_data.words()},
          {"rows_with_personal_data", intake.rows_with_personal_data},
          {"rows_dropped", intake.rows_dropped}};
}

Json to_json(const collect::CollectSummary& summary, const collect::CollectOptions& options) {
  const auto phase = [](const collect::Phase& p) { return Json{{"tokens", p.sampled_tokens}, {"seconds", p.seconds}}; };
  Json json = {{"prompt_source", options.self_generated() ? "self_generated" : options.prompts_file()},
               {"asked", summary.asked},
               {"reused", summary.reused},
               {"from_file", summary.from_file},
               {"exchanges", summary.ids.size()},
               {"empty_user_turns", summary.empty_user_turns},
               {"long_user_turns", summary.long_user_turns},
               {"broken_user_turns", summary.broken_user_turns},
               {"refused_user_turns", summary.refused_user_turns},
               {"slots_given_up", summary.slots_given_up},
               {"truncated_answers", summary.truncated_answers},
               {"user_tokens", summary.user_tokens},
               {"answer_tokens", summary.answer_tokens},
               {"full", phase(summary.full)},
               {"tail", phase(summary.tail)}};
  if (!options.self_generated()) json["prompt_file"] = to_json(summary.intake, options.personal_data);
  return json;
}

}  // namespace

Result<void> write_collection(const RunFolder& folder, const collect::CollectSummary& summary,
                              const collect::CollectOptions& options, const Json& service) {
  Json ids = Json::array();
  for (const Digest& id : summary.ids) ids.push_back(id.hex());
  RETORT_TRY(write_json(folder, kCollectionFile, {{"format", "retort-collection"}, {"version", 1}, {"ids", ids}}));
  Json json = to_json(summary, options);
  if (!service.is_null()) json["service"] = service;
  return write_json(folder, "collect/summary.json", json);
}

}  // namespace retort::pipeline
