// What the stages leave in the run folder, read back.
//
// Paths are relative to the run folder (docs/formats/run.md). One thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "dataset/dataset.h"
#include "dataset/example.h"
#include "dataset/read_exchange.h"
#include "exchange/exchange.h"
#include "pipeline/local_model.h"
#include "pipeline/run_folder.h"
#include "store/exchange_store.h"

namespace retort::pipeline {

inline constexpr const char* kStoreFile = "collect/exchanges.sqlite";
inline constexpr const char* kCollectionFile = "collect/collection.json";
inline constexpr const char* kCurationFile = "curate/curation.json";
inline constexpr const char* kDatasetFile = "dataset/dataset.json";
inline constexpr const char* kLayersFile = "train/layers.json";
inline constexpr const char* kWidthsFile = "train/widths.json";       // where the student is narrower
inline constexpr const char* kFitFile = "train/fit.json";             // where it was fitted
inline constexpr const char* kStartFile = "train/start.safetensors";  // unless it began as layers of the teacher
inline constexpr const char* kMetricsFile = "train/metrics.jsonl";
inline constexpr const char* kPreflightFile = "train/preflight.json";
inline constexpr const char* kRolloutsFile = "train/rollouts.sqlite";
inline constexpr const char* kAdapterFile = "train/adapter/adapter_model.safetensors";  // where adapters are trained
inline constexpr const char* kAdapterConfigFile = "train/adapter/adapter_config.json";
inline constexpr const char* kTrainSummaryFile = "train/summary.json";
inline constexpr const char* kStudentWeightsFile = "train/student.safetensors";
inline constexpr const char* kExportFile = "export/files.json";
inline constexpr const char* kHuggingFaceFolder = "export/huggingface";
inline constexpr const char* kExportRecipeFile = "export/recipe.yaml";
inline constexpr const char* kLineageFile = "export/lineage.json";
inline constexpr const char* kScorecardFile = "evaluate/scorecard.json";
inline constexpr const char* kDetailsFile = "evaluate/details.json";

Result<std::vector<Digest>> read_collection(const RunFolder& folder);
// The layers the student keeps, from train/layers.json.
Result<std::vector<std::int64_t>> read_kept_layers(const RunFolder& folder);
// Exchanges as the local model reads them: answers that came as text get its tokens (tokens/rendered_exchange.h).
// Borrows both.
dataset::ReadExchange local_reader(const store::ExchangeStore& store, const LocalModel& local);
// These exchanges themselves, so read, in the order of the ids.
Result<std::vector<Exchange>> read_exchanges(const RunFolder& folder, const LocalModel& local,
                                             const std::vector<Digest>& ids);

}  // namespace retort::pipeline
