// The run proves itself before it spends: seconds of arithmetic on a few real examples, at the start of every training.
//
// Each check has a question, what was measured, and what would have been too much. What distillation code gets wrong is
// asked one by one: rows shifted against one another, a loss or gradient that isn't the formula's, a loss that depends
// on how the batch is split, a gradient that doesn't lead downhill, a teacher that doesn't agree with itself. Nothing
// is kept: weights, moments and draws are afterwards what they were.
//
// One thread at a time; uses libtorch's threads inside.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json_fwd.h"
#include "dataset/example.h"
#include "exchange/engine.h"
#include "train/step.h"

namespace retort::train {

struct Check {
  std::string name;      // "alignment", "reference", …
  std::string question;  // a sentence
  bool passed = false;
  std::string measured;  // a sentence with figures
  std::string advice;    // what to look at when it failed
};

struct PreflightInput {
  const model::Decoder* teacher;  // null: its text alone, and nothing that speaks of its distribution is asked
  std::span<const dataset::Example> examples;  // a few: what fits into kPreflightTokens is used
  // The teacher on another engine, to be compared with: opened when its turn comes, and gone after it. May be empty.
  std::function<Result<std::unique_ptr<Scorer>>()> open_other_engine;
  std::string other_name;  // "llama.cpp in F16"
  // Ids as text, special tokens shown, so that what is supervised can be read; may be empty.
  dataset::Decode decode;
};

inline constexpr std::int64_t kPreflightTokens = 384;

// Errors: kCaller: no example has a target; those of open_other_engine(). A check that fails is no error here: see
// failure_of().
Result<std::vector<Check>> preflight(StepRunner& runner, const TrainOptions& options, const PreflightInput& input);

// The first check that failed, as the error that stops the run.
std::optional<Failure> failure_of(std::span<const Check> checks);

Json to_json(const Check& check);

}  // namespace retort::train
