// dataset: which exchanges are trained on and which are held out.
#include "base/files.h"
#include "base/text.h"
#include "collect/collect_options.h"
#include "dataset/dataset.h"
#include "evaluate/evaluate_options.h"
#include "pipeline/run_files.h"
#include "pipeline/stage.h"

namespace retort::pipeline {

Result<StageResult> run_dataset(StageContext& context) {
  RETORT_ASSIGN(const Json json, read_json(context.folder, kCurationFile));
  RETORT_ASSIGN(const dataset::Curation curation, dataset::curation_from_json(json));
  const auto evaluate = context.recipe.get(evaluate::evaluate_option_set());
  const auto collect = context.recipe.get(collect::collect_option_set());
  RETORT_ASSIGN(dataset::Dataset dataset, dataset::split(curation, evaluate.held_out, collect.seed));
  RETORT_ASSIGN(const Digest curation_digest, sha256_file(context.folder.of(kCurationFile)));
  dataset.choices = {{"curation", curation_digest.hex()}, {"teacher", context.teacher.identity.hex()}};
  RETORT_TRY(dataset::save(dataset, context.folder.of(kDatasetFile)));

  StageResult result;
  result.content = {kDatasetFile};
  result.summary = human_count(static_cast<std::int64_t>(dataset.train.size())) + " exchanges to train on, " +
                   human_count(static_cast<std::int64_t>(dataset.held_out.size())) + " held out";
  return result;
}

}  // namespace retort::pipeline
