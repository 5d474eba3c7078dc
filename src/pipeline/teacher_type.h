// The type in which the teacher's file decodes fastest on this machine, measured once for each file
// (pipeline/machine_memory.h): collections with one seed ask the same engine.
//
// One caller at a time; uses llama.cpp's threads when it measures.
#pragma once

#include <filesystem>
#include <stop_token>

#include "base/clock.h"
#include "base/error.h"
#include "base/progress.h"
#include "llama/speed.h"
#include "pipeline/local_model.h"

namespace retort::pipeline {

// As llama::fastest_type, whose errors it has.
Result<llama::TypeProbe> fastest_type_once(const LocalModel& local, const std::filesystem::path& cache_folder,
                                           const Clock& clock, Progress& progress, std::stop_token stop);

}  // namespace retort::pipeline
