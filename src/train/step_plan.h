// Which rows every step learns from: a pure function of (examples, options).
//
// Each epoch is packed anew from (seed, epoch) and its rows are spread evenly over the epoch's steps. Steps of the
// on-policy part (options.on_policy_from) take fewer rows of the exchanges and leave room for rollouts. One thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dataset/pack.h"
#include "train/train_options.h"

namespace retort::train {

struct PlannedStep {
  std::int64_t epoch = 0;      // from 0
  std::int64_t first_row = 0;  // of the epoch's packing
  std::int64_t rows = 0;
  std::int64_t tokens = 0;  // padding excluded; of the exchanges
  std::int64_t targets = 0;
  std::int64_t rollout_tokens = 0;  // wanted of the student's own; 0: none
};

class StepPlan {
 public:
  // `examples` are borrowed and must stay. With options.tokens set, the plan ends with the step that reaches it; the
  // last step's rows are left off once it is reached.
  StepPlan(std::span<const dataset::Example> examples, const TrainOptions& options);

  const std::vector<PlannedStep>& steps() const { return steps_; }
  std::int64_t tokens() const { return tokens_; }  // of all steps, rollouts as wanted
  // Index of the first step with rollouts; steps().size() when there is none.
  std::size_t first_on_policy() const;
  std::int64_t cut_tokens() const { return cut_tokens_; }  // of examples longer than a row, one epoch
  std::int64_t cut_examples() const { return cut_examples_; }
  // The rows of step `index` (from 0). Packs the epoch when it isn't the one at hand; valid until the next call.
  std::span<const dataset::PackedRow> rows(std::size_t index);

 private:
  dataset::Packing pack(std::int64_t epoch) const;

  std::span<const dataset::Example> examples_;
  TrainOptions options_;
  std::vector<PlannedStep> steps_;
  std::int64_t tokens_ = 0;
  std::int64_t cut_tokens_ = 0;
  std::int64_t cut_examples_ = 0;
  std::int64_t epoch_ = -1;
  dataset::Packing packing_;
};

// Splits the rows of a step into runs of at most `micro_batch_tokens` used tokens, each at least one row.
std::vector<std::span<const dataset::PackedRow>> micro_batches(std::span<const dataset::PackedRow> rows,
                                                               std::int64_t micro_batch_tokens);

}  // namespace retort::train
