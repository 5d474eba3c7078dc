#include "train/step_plan.h"

#include <algorithm>

#include "base/random.h"

namespace retort::train {

StepPlan::StepPlan(std::span<const dataset::Example> examples, const TrainOptions& options)
    : examples_(examples), options_(options) {
  const std::int64_t rows_per_step = std::max<std::int64_t>(1, options.tokens_per_step / options.max_length);
  std::int64_t tokens = 0;
  for (std::int64_t epoch = 0; options.tokens > 0 || epoch < options.epochs; ++epoch) {
    packing_ = pack(epoch);
    epoch_ = epoch;
    cut_tokens_ = packing_.cut_tokens;
    cut_examples_ = packing_.cut_examples;
    if (packing_.targets == 0) return;
    const auto rows = static_cast<std::int64_t>(packing_.rows.size());
    const std::int64_t count = std::max<std::int64_t>(1, (rows + rows_per_step / 2) / rows_per_step);
    for (std::int64_t i = 0; i < count; ++i) {
      PlannedStep step;
      step.epoch = epoch;
      step.first_row = i * rows / count;
      for (std::int64_t row = step.first_row; row < (i + 1) * rows / count; ++row) {
        step.rows += 1;
        step.tokens += packing_.rows[static_cast<std::size_t>(row)].used;
        step.targets += packing_.rows[static_cast<std::size_t>(row)].targets;
        if (options.tokens > 0 && tokens + step.tokens >= options.tokens) break;
      }
      tokens += step.tokens;
      if (step.targets > 0) steps_.push_back(step);
      if (options.tokens > 0 && tokens >= options.tokens) return;
    }
  }
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
