// The checks of train/preflight.h before a run has any exchange: on a few that the teacher answers now.
//
// One thread at a time; uses libtorch's threads, then llama.cpp's. Leaves nothing.
#pragma once

#include <filesystem>
#include <memory>
#include <stop_token>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "exchange/engine.h"
#include "pipeline/compute_choice.h"
#include "pipeline/local_model.h"
#include "recipe/recipe.h"
#include "train/preflight.h"

namespace retort::pipeline {

// The student is the recipe's list of layers, or as many spread evenly over the teacher: which they are says nothing of
// whether the arithmetic is right. Other kinds of students are stood for by half the teacher's layers.
Result<std::vector<train::Check>> plan_checks(const recipe::Recipe& recipe, const LocalModel& local,
                                              const ComputeChoice& compute, const std::filesystem::path& cache_folder,
                                              const Clock& clock, std::stop_token stop);

// The teacher as llama.cpp runs it in F16, without the noise of quantised activations, for sequences of up to `longest`
// tokens.
Result<std::unique_ptr<Scorer>> open_in_llama(const LocalModel& local, const std::filesystem::path& cache_folder,
                                              std::size_t longest);
inline constexpr const char* kOtherEngine = "llama.cpp in F16";

}  // namespace retort::pipeline
