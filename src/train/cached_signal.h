// What is kept of the teacher for the training examples, handed out for packed rows.
//
// Reads a dataset::SignalFile in place of the teacher; with none (text only) every row is empty. Borrows the file. One
// thread at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <stop_token>
#include <vector>

#include "base/error.h"
#include "base/progress.h"
#include "dataset/example.h"
#include "dataset/pack.h"
#include "dataset/teacher_signal.h"
#include "train/objective_rows.h"
#include "train/train_options.h"

namespace retort::model {
class Decoder;
}

namespace retort::train {

class CachedSignal {
 public:
  // `file` may be null: text only. It must have been made for these examples, cut to `max_length` (check_fits).
  CachedSignal(const dataset::SignalFile* file, std::span<const dataset::Example> examples, std::int64_t max_length);

  // For the targets of the rows, in the order of Batch::targets.
  SparseSignal find(std::span<const dataset::PackedRow> rows) const;

 private:
  const dataset::SignalFile* file_;
  std::vector<std::int64_t> begins_;  // per example its first row
};

// The header of the signal that `options` ask for; the identities of tokenizer and teacher, and the slots of what an
// API told, are the caller's to fill in.
dataset::SignalHeader signal_header(std::span<const dataset::Example> examples, const TrainOptions& options,
                                    dataset::SignalKind kind, std::int64_t vocabulary);

// Lets the teacher read the examples in batches and writes `path`, going on where an earlier attempt was stopped or
// killed. Draws depend on (header.seed, row) alone. Errors: kWorld for the disk or a logit that is no finite number;
// kInterrupted when stopped.
Result<void> write_signal(const model::Decoder& teacher, std::span<const dataset::Example> examples,
                          const TrainOptions& options, const dataset::SignalHeader& header,
                          const std::filesystem::path& path, Progress& progress, std::stop_token stop);

}  // namespace retort::train
