// How the ranks of a run train together: the first one has the run folder and says what is to be done, the others do
// their share of it with nothing but the recipe and the teacher's file.
//
// One thread at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/progress.h"
#include "dataset/example.h"
#include "pipeline/compute_choice.h"
#include "pipeline/local_model.h"
#include "recipe/recipe.h"
#include "train/ranks.h"

namespace retort::model {
class Decoder;
}

namespace retort::pipeline {

struct TrainTask {
  ComputeChoice compute;
  std::vector<std::int64_t> layers;       // the student's, of the teacher's
  const model::Decoder* start = nullptr;  // the student itself, where it isn't simply those layers
  std::vector<dataset::Example> train, held_out;
  std::vector<dataset::Example> text;  // of the user's, to see what is forgotten; may be empty
  std::string signal;                  // train.signal as it was chosen
  std::filesystem::path signal_file;   // what is kept of the teacher; empty: nothing. All ranks must reach it
};

// From the first rank to the others; it keeps what it had.
Result<void> hand_out(train::Ranks& ranks, const TrainTask& task);
// Nothing is to be trained: the others may go.
Result<void> dismiss(train::Ranks& ranks);

// The others' part of a run: waits for the task, trains, and leaves.
Result<void> help_to_train(train::Ranks& ranks, int local_ranks, const recipe::Recipe& recipe, const LocalModel& local,
                           Clock& clock, Progress& progress, std::stop_token stop);

// Where all ranks can train, of what train.device asks for: a GPU for each of them, or the processor. Every rank must
// call it. Error (kCaller): GPUs are asked for, and some rank has none.
Result<std::string> device_for_all(train::Ranks& ranks, const std::string& wanted);

// Takes into use the choice of compute, and this rank's share of the machine's cores.
void use(const ComputeChoice& compute, int local_ranks);

}  // namespace retort::pipeline
