// bundle: what is shipped, in one folder, with model card, lineage and the digests of all.
#include <algorithm>

#include "base/files.h"
#include "base/text.h"
#include "exporter/bundle.h"
#include "exporter/duties.h"
#include "exporter/export_options.h"
#include "pipeline/measured_models.h"
#include "pipeline/run_files.h"
#include "pipeline/stage.h"

namespace retort::pipeline {

Result<StageResult> run_bundle(StageContext& context) {
  exporter::BundleInput input;
  RETORT_ASSIGN(const Json lineage, read_json(context.folder, kLineageFile));
  RETORT_ASSIGN(input.card.lineage, exporter::lineage_from_json(lineage, kLineageFile));
  RETORT_ASSIGN(const auto languages,
                context.local.file.metadata().find<std::vector<std::string>>("general.languages"));
  input.card.languages = languages.value_or(std::vector<std::string>());
  RETORT_ASSIGN(const Json summary, read_json(context.folder, "collect/summary.json"));
  RETORT_ASSIGN(input.card.prompt_source, member<std::string>(summary, "prompt_source", "collect/summary.json"));
  RETORT_ASSIGN(const Json card, read_json(context.folder, kScorecardFile));
  RETORT_ASSIGN(input.card.scorecard, scorecard_from_json(card));
  input.card.command = context.folder.manifest().command;
  RETORT_ASSIGN(input.recipe_yaml, read_file(context.folder.of(kExportRecipeFile)));
  RETORT_ASSIGN(const std::vector<ExportedFile> files, read_exported_files(context.folder));
  for (const ExportedFile& file : files) {
    if (file.role == "student") input.models.push_back(context.folder.of(file.path));
  }
  if (context.recipe.get(exporter::export_option_set()).huggingface) {
    input.hugging_face = context.folder.of(kHuggingFaceFolder);
  }
  input.dataset = context.folder.of(kDatasetFile);
  RETORT_ASSIGN(const Json exported, read_json(context.folder, kExportFile));
  RETORT_ASSIGN(input.proof, member<Json>(exported, "agreement", kExportFile));
  RETORT_TRY(exporter::write_bundle(input, context.folder.of("bundle")));

  StageResult result;
  std::uint64_t bytes = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(context.folder.of("bundle"), error)) {
    if (!entry.is_regular_file()) continue;
    result.content.push_back(std::filesystem::relative(entry.path(), context.folder.path(), error).generic_string());
    bytes += entry.file_size();
  }
  if (error) return world_error("The bundle can't be read back: " + error.message() + ".");
  std::sort(result.content.begin(), result.content.end());
  result.summary = std::to_string(result.content.size()) + " files, " + human_bytes(bytes);
  const std::vector<exporter::CarriedDuty> duties = exporter::duties_from_json(input.card.lineage.duties);
  for (const exporter::CarriedDuty& duty : duties) {
    const bool done = duty.state == exporter::DutyState::kDone;
    context.progress.note(std::string("terms, ") + (done ? "done: " : "left to you: ") + duty.sentence);
  }
  if (!duties.empty()) result.summary += "; " + exporter::duties_text(duties);
  return result;
}

}  // namespace retort::pipeline
