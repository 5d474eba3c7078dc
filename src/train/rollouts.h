// On-policy learning: the student's own answers, which the teacher then judges (GKD, arXiv 2306.13649, algorithm 1).
//
// Training asks for a round of them from time to time; who keeps prompts and exchanges answers. Where several ranks
// train, the first of them has the source, and all of them answer (train/rank_generator.h). One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "dataset/example.h"
#include "dataset/pack.h"
#include "exchange/engine.h"
#include "train/health.h"
#include "train/ranks.h"
#include "train/step_plan.h"
#include "train/train_options.h"

namespace retort::model {
class Decoder;
}

namespace retort::train {

struct RolloutRound {
  std::int64_t number = 0;  // from 0
  std::int64_t step = 0;    // steps done when it is asked for
  std::int64_t tokens = 0;  // wanted: at least so many in all, prompts included
  std::string fingerprint;  // of the training: with the number it names the round
};

class RolloutSource {
 public:
  virtual ~RolloutSource() = default;
  // Answers of the student as it is now, each with its own tokens as targets. A round that was made before, by the same
  // training, is given again as it was. Error kInterrupted: stopped before the round was whole; nothing of it is kept.
  virtual Result<std::vector<dataset::Example>> round(TokenGenerator& student, const RolloutRound& round,
                                                      std::stop_token stop) = 0;
};

// Rounds laid into rows, step by step. Every rank has its own and makes the same calls. Borrows source and ranks.
class RolloutRows {
 public:
  // `source`: on the rank that leads; elsewhere it isn't looked at. `taught`: what the teacher's answers look like.
  // `end_ids`: what ends an answer.
  RolloutRows(RolloutSource* source, Ranks& ranks, const StepPlan& plan, const TrainOptions& options,
              std::string fingerprint, std::span<const dataset::Example> taught, std::span<const TokenId> end_ids)
      : source_(source),
        ranks_(ranks),
        plan_(plan),
        options_(options),
        fingerprint_(std::move(fingerprint)),
        taught_(taught),
        end_ids_(end_ids.begin(), end_ids.end()) {}

  // The rows of a step that wants some; asks for a round when the step begins one or was resumed within it. Valid until
  // the next call. Errors: the source's; kWorld when the student answered nothing at all.
  Result<std::span<const dataset::PackedRow>> of_step(std::size_t step, const model::Decoder& student,
                                                      std::stop_token stop);

  // What the last round was like, and whether it was made by the last call of of_step().
  struct Round {
    std::int64_t number = -1;
    OwnAnswers answers;   // beside as many of the teacher's, from the training examples
    bool fresh = false;   // made or read by the last call
    bool begins = false;  // the last call's step is its first
  };
  const Round& last() const { return round_; }

 private:
  // The round's answers, on every rank.
  Result<std::vector<dataset::Example>> answers(const model::Decoder& student, const RolloutRound& wanted,
                                                std::stop_token stop);

  RolloutSource* source_;
  Ranks& ranks_;
  const StepPlan& plan_;
  const TrainOptions& options_;
  std::string fingerprint_;
  std::span<const dataset::Example> taught_;
  std::vector<TokenId> end_ids_;
  Round round_;
  dataset::Packing packing_;
};

}  // namespace retort::train
