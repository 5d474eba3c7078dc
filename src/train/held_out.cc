#include "train/held_out.h"

#include <ATen/ops/empty.h>

#include <cstddef>
#include <utility>

#include "dataset/pack.h"
#include "train/step_plan.h"

namespace retort::train {

HeldOut::HeldOut(const StepRunner& runner, std::span<const dataset::Example> examples, const TrainOptions& options,
                 Ranks& ranks)
    : ranks_(ranks) {
  std::int64_t tokens = 0;
  std::size_t count = 0;
  while (count < examples.size() && tokens < options.held_out_tokens) {
    tokens += static_cast<std::int64_t>(examples[count++].ids.size());
  }
  dataset::PackOptions pack;
  pack.max_length = static_cast<std::size_t>(options.max_length);
  const dataset::Packing packing = dataset::pack(examples.first(count), pack);
  int turn = 0;
  for (const auto rows : micro_batches(packing.rows, options.micro_batch_tokens)) {
    Batch batch = make_batch(rows);
    if (batch.targets.empty()) continue;
    empty_ = false;
    if (turn++ % ranks.world() != ranks.rank()) continue;
    at::Tensor hidden = runner.teacher_hidden(batch);
    parts_.push_back({std::move(batch), std::move(hidden)});
  }
}

Result<double> HeldOut::kl(StepRunner& runner) const {
  LossSums sums;
  for (const Part& part : parts_) sums += runner.measure(part.batch, part.teacher);
  const at::Tensor figures = at::empty({2}, at::kDouble);
  auto* figure = figures.mutable_data_ptr<double>();
  figure[0] = sums.kl;
  figure[1] = static_cast<double>(sums.tokens);
  RETORT_TRY(ranks_.sum(figures));
  return figure[1] > 0 ? figure[0] / figure[1] : -1;
}

}  // namespace retort::train
