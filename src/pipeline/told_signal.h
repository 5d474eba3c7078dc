// The signal that is in an API's own words: the probabilities it told with its answers (train.signal: logprobs).
//
// Kept in the same file as what a local teacher is asked for (pipeline/teacher_signal.h): the likeliest tokens with
// their probabilities, and the answers' own in place of all others (docs/decisions/0016). The API is not asked again.
// One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "dataset/example.h"
#include "dataset/read_exchange.h"
#include "dataset/teacher_signal.h"
#include "pipeline/stage.h"
#include "tokens/tokenizer.h"
#include "train/train_options.h"

namespace retort::pipeline {

struct ToldRows {
  std::vector<dataset::SignalRow> rows;  // of the example's targets, in order, cut to max_length
  std::int64_t told = 0;                 // of those, the ones whose probability was told; the others are text
};
// `exchange` as the tokenizer reads it (tokens/rendered_exchange.h), `example` made of it.
ToldRows told_rows(const Exchange& exchange, const dataset::Example& example, const tokens::Tokenizer& tokenizer,
                   std::int64_t max_length, std::int64_t slots);

// The header of that file for these examples.
dataset::SignalHeader told_header(const StageContext& context, std::span<const dataset::Example> examples,
                                  const train::TrainOptions& options);

// Writes it, and says of how much the API told. `examples`: of the exchanges `ids`, which are read once more. Errors:
// kCaller where the API told the probabilities of less than half of what is learnt, with the reason; kWorld for the
// disk.
Result<void> write_told_signal(StageContext& context, const dataset::ReadExchange& read, std::span<const Digest> ids,
                               std::span<const dataset::Example> examples, const train::TrainOptions& options,
                               const std::filesystem::path& path);

}  // namespace retort::pipeline
