// Batches that an earlier recipe of a run handed over: fetched by that recipe, which is kept beside the store as
// collect/batches.yaml, before the present one asks anything.
//
// One thread; the caller owns everything passed in.
#pragma once

#include <filesystem>
#include <stop_token>

#include "base/clock.h"
#include "base/error.h"
#include "base/progress.h"
#include "net/transport.h"
#include "pipeline/remote_collection.h"
#include "pipeline/run_folder.h"
#include "recipe/recipe.h"
#include "store/exchange_store.h"

namespace retort::pipeline {

// Fetches what has ended of them, and keeps this recipe where it will hand over batches of its own. What is still under
// way is left to collect_remote(), which asks nothing beside it. Errors: of collect_remote(); kCaller when what they
// asked can't be read any more, with what to do.
Result<void> fetch_earlier_batches(const recipe::Recipe& recipe, const std::string& terms, const RunFolder& folder,
                                   store::ExchangeStore& store, net::Transport& transport,
                                   const std::filesystem::path& cache_folder, const Environment& environment,
                                   const Clock& clock, Progress& progress, std::stop_token stop);

}  // namespace retort::pipeline
