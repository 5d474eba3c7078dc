#include "train/step_plan.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"

namespace retort::train {

StepPlan::StepPlan(std::span<const dataset::Example> examples, const TrainOptions& options)
    : examples_(examples), options_(options) {
  const std::int64_t rows_per_step = std::max<std::int64_t>(1, options.tokens_per_step / options.max_length);
  const double own_share = options.on_policy_share;
  const auto data_rows = static_cast<std::int64_t>(std::lround(static_cast<double>(rows_per_step) * (1 - own_share)));
  const auto rollout_tokens = static_cast<std::int64_t>(static_cast<double>(options.tokens_per_step) * own_share);
  std::int64_t total = options.tokens;
  for (std::int64_t epoch = 0; options.tokens > 0 || epoch < options.epochs; ++epoch) {
    packing_ = pack(epoch);
    epoch_ = epoch;
    cut_tokens_ = packing_.cut_tokens;
    cut_examples_ = packing_.cut_examples;
    if (packing_.targets == 0) return;
    if (total == 0) total = packing_.tokens * options.epochs;
    const double on_policy_at = options.on_policy_from * static_cast<double>(total);
    const auto rows = static_cast<std::int64_t>(packing_.rows.size());
    const std::int64_t count = std::max<std::int64_t>(1, (rows + rows_per_step / 2) / rows_per_step);
    std::int64_t row = 0;
    for (std::int64_t i = 0; row < rows; ++i) {
      const bool on_policy = options.on_policy_from < 1 && static_cast<double>(tokens_) >= on_policy_at;
      PlannedStep step;
      step.epoch = epoch;
      step.first_row = row;
      if (on_policy) step.rollout_tokens = std::max<std::int64_t>(1, rollout_tokens);
      const bool may_end = options.tokens > 0 || on_policy;
      const std::int64_t end = on_policy ? std::min(rows, row + data_rows) : (i + 1) * rows / count;
      while (row < end) {
        step.rows += 1;
        step.tokens += packing_.rows[static_cast<std::size_t>(row)].used;
        step.targets += packing_.rows[static_cast<std::size_t>(row)].targets;
        ++row;
        if (may_end && tokens_ + step.tokens + step.rollout_tokens >= total) break;
      }
      tokens_ += step.tokens + step.rollout_tokens;
      if (step.targets > 0 || on_policy) steps_.push_back(step);
      if (may_end && tokens_ >= total) return;
    }
  }
}

std::size_t StepPlan::first_on_policy() const {
  const auto found =
      std::find_if(steps_.begin(), steps_.end(), [](const PlannedStep& step) { return step.rollout_tokens > 0; });
  return static_cast<std::size_t>(found - steps_.begin());
}

dataset::Packing StepPlan::pack(std::int64_t epoch) const {
  dataset::PackOptions options;
  options.max_length = static_cast<std::size_t>(options_.max_length);
  options.seed = derive_seed(static_cast<std::uint64_t>(options_.seed), "train.order");
  options.epoch = static_cast<std::uint64_t>(epoch);
  return dataset::pack(examples_, options);
}

std::span<const dataset::PackedRow> StepPlan::rows(std::size_t index) {
  const PlannedStep& step = steps_[index];
  if (step.epoch != epoch_) {
    packing_ = pack(step.epoch);
    epoch_ = step.epoch;
  }
  return std::span<const dataset::PackedRow>(packing_.rows)
      .subspan(static_cast<std::size_t>(step.first_row), static_cast<std::size_t>(step.rows));
}

std::vector<std::span<const dataset::PackedRow>> micro_batches(std::span<const dataset::PackedRow> rows,
                                                               std::int64_t micro_batch_tokens) {
  std::vector<std::span<const dataset::PackedRow>> batches;
  std::size_t begin = 0;
  std::int64_t tokens = 0;
  for (std::size_t row = 0; row < rows.size(); ++row) {
    if (row > begin && tokens + rows[row].used > micro_batch_tokens) {
      batches.push_back(rows.subspan(begin, row - begin));
      begin = row;
      tokens = 0;
    }
    tokens += rows[row].used;
  }
  if (begin < rows.size()) batches.push_back(rows.subspan(begin));
  return batches;
}

}  // namespace retort::train
