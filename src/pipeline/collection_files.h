// What a collection leaves beside its store, whoever was asked: collect/collection.json (the ids, in order) and
// collect/summary.json (counts, speeds, what was found in the prompt file, what a service was paid).
#pragma once

#include "base/error.h"
#include "base/json.h"
#include "collect/collect.h"
#include "collect/collect_options.h"
#include "pipeline/run_folder.h"

namespace retort::pipeline {

// `service`: collect::to_json(RemoteSummary), or null.
Result<void> write_collection(const RunFolder& folder, const collect::CollectSummary& summary,
                              const collect::CollectOptions& options, const Json& service);

}  // namespace retort::pipeline
