// What the stage `train` of a run will take, in time and memory: said by the plan, and held against what it took.
//
// One thread; uses libtorch's threads inside.
#pragma once

#include <cstdint>

#include "base/clock.h"
#include "base/error.h"
#include "pipeline/compute_choice.h"
#include "pipeline/local_model.h"
#include "recipe/recipe.h"
#include "train/estimate.h"

namespace retort::pipeline {

struct TrainPrediction {
  train::TrainCost cost;
  bool timed = false;  // by layers of its own shapes; else by matrix products alone
  double layer_choice_s = 0;
  double layer_fit_s = 0;
  std::int64_t start_bytes = 0;   // on disk, of a student that doesn't begin as layers of the teacher
  std::int64_t peak_bytes = 0;    // of the process, while layers are chosen or fitted or the student is trained
  std::int64_t device_bytes = 0;  // of a GPU's memory; 0 on the processor
};

// Times a few layers for some two seconds (train/step_costs.h), for which `compute` is taken into use; the rest is
// arithmetic. `dataset_tokens`: of the training split. Errors: of the recipe's values.
Result<TrainPrediction> predict_training(const recipe::Recipe& recipe, const LocalModel& local,
                                         const ComputeChoice& compute, std::int64_t dataset_tokens, const Clock& clock);

}  // namespace retort::pipeline
