// curate: which exchanges are fit to learn from; what is dropped is counted by reason in curate/curation.json.
#include "base/text.h"
#include "dataset/curate.h"
#include "pipeline/run_files.h"
#include "pipeline/stage.h"

namespace retort::pipeline {

Result<StageResult> run_curate(StageContext& context) {
  RETORT_ASSIGN(const std::vector<Digest> ids, read_collection(context.folder));
  RETORT_ASSIGN(const store::ExchangeStore store, store::ExchangeStore::open_read_only(context.folder.of(kStoreFile)));
  RETORT_ASSIGN(const dataset::Curation curation, dataset::curate(local_reader(store, context.local), ids,
                                                                  context.recipe.get(dataset::curate_option_set())));
  RETORT_TRY(write_json(context.folder, kCurationFile, dataset::to_json(curation)));

  StageResult result;
  result.content = {kCurationFile};
  result.tokens = curation.kept_tokens;
  result.summary = human_count(static_cast<std::int64_t>(curation.kept.size())) + " of " +
                   human_count(curation.seen()) + " exchanges kept";
  std::string reasons;
  for (const dataset::DropReason reason : dataset::kDropReasons) {
    if (const std::int64_t count = curation.count(reason); count > 0) {
      reasons += (reasons.empty() ? "" : ", ") + std::to_string(count) + " " + std::string(dataset::name_of(reason));
    }
  }
  if (!reasons.empty()) result.summary += " (dropped: " + reasons + ")";
  return result;
}

}  // namespace retort::pipeline
