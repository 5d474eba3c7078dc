// How fast llama.cpp works on a plan's models here, measured: for what collecting and evaluating will take.
//
// One thread; nothing else should compute meanwhile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <stop_token>

#include "base/clock.h"
#include "base/error.h"
#include "base/progress.h"
#include "llama/speed.h"
#include "pipeline/local_model.h"

namespace retort::pipeline {

// A teacher of more parameters would take too long for a plan to compute with more than it must.
inline constexpr std::int64_t kComputedParameters = 2'000'000'000;

struct PlanRates {
  llama::WorkRates collecting;  // in the fastest type, in batches as collecting makes them
  llama::WorkRates reference;   // of the file that evaluation compares with (F16), in its smaller batches
};

// `context`: tokens behind a sampled one, on average; `sampling`: of the answers. A teacher of more than
// kComputedParameters isn't read in F16 for this: its rates there are guessed from those of the fastest type.
Result<PlanRates> measure_rates(const LocalModel& local, std::size_t parallel, std::size_t context,
                                const SamplingOptions& sampling, const std::filesystem::path& cache_folder,
                                const Clock& clock, Progress& progress, const std::stop_token& stop);

}  // namespace retort::pipeline
