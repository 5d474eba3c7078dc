// What is kept of the teacher for training: signal/teacher.signal of a run (docs/formats/teacher-signal.md).
//
// It stands beside the stages' folders, because it outlives changed options of training; its header says what it was
// made for, and one that was made for something else is refused. One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <stop_token>
#include <string>

#include "base/digest.h"
#include "dataset/example.h"
#include "dataset/read_exchange.h"
#include "dataset/teacher_signal.h"
#include "model/decoder.h"
#include "pipeline/pipeline.h"
#include "pipeline/stage.h"
#include "train/train_options.h"

namespace retort::pipeline {

inline constexpr const char* kSignalFile = "signal/teacher.signal";

// The exchanges that are learnt from: by id, as they are read, and as examples.
struct TaughtExchanges {
  const dataset::ReadExchange& read;
  std::span<const Digest> ids;
  std::span<const dataset::Example> examples;
};

// The signal that training is to use. options.signal is replaced by what was chosen where it is auto or `teacher` is
// null (not at hand), and the choice is said; a kept one that isn't there yet is written. Nothing for online and text.
// Errors: kCaller for a kept signal of another tokenizer, teacher, data or kind; those of train::write_signal and
// write_told_signal.
Result<std::optional<dataset::SignalFile>> signal_for_training(StageContext& context, const model::Decoder* teacher,
                                                               const TaughtExchanges& taught,
                                                               train::TrainOptions& options);

struct CachedSignalOutcome {
  std::filesystem::path path;
  dataset::SignalHeader header;
  bool kept = false;  // it was there already
  double seconds = 0;
};

// Does the run's stages up to the dataset and writes the signal that its recipe asks for (sampled where it asks for
// none), in place of one that doesn't fit. Errors: those of run() and train::write_signal.
Result<CachedSignalOutcome> cache_signal(RunRequest request, Clock& clock, Progress& progress, std::stop_token stop);

}  // namespace retort::pipeline
