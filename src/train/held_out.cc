#include "train/held_out.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "dataset/pack.h"
#include "model/parallel.h"
#include "model/tensor_rows.h"
#include "train/step_plan.h"

namespace retort::train {
namespace {

// This rank's micro-batches of as many examples as the options want. `any`: some rank has one.
std::vector<Batch> batches_of(std::span<const dataset::Example> examples, const TrainOptions& options,
                              const Ranks& ranks, bool& any) {
  std::int64_t tokens = 0;
  std::size_t count = 0;
  while (count < examples.size() && tokens < options.held_out_tokens) {
    tokens += static_cast<std::int64_t>(examples[count++].ids.size());
  }
  dataset::PackOptions pack;
  pack.max_length = static_cast<std::size_t>(options.max_length);
  const dataset::Packing packing = dataset::pack(examples.first(count), pack);
  std::vector<Batch> own;
  int turn = 0;
  for (const auto rows : micro_batches(packing.rows, options.micro_batch_tokens)) {
    Batch batch = make_batch(rows);
    if (batch.targets.empty()) continue;
    any = true;
    if (turn++ % ranks.world() == ranks.rank()) own.push_back(std::move(batch));
  }
  return own;
}

// Targets in a row of places are one answer: between documents there is always a place without one.
std::vector<std::uint32_t> indices_of(const Batch& batch) {
  const auto* places = batch.supervised.const_data_ptr<std::int64_t>();
  std::vector<std::uint32_t> indices(batch.targets.size(), 0);
  for (std::size_t i = 1; i < indices.size(); ++i) {
    if (places[i] == places[i - 1] + 1) indices[i] = indices[i - 1] + 1;
  }
  return indices;
}

}  // namespace

HeldOut::HeldOut(StepRunner& runner, std::span<const dataset::Example> examples, std::span<const dataset::Example> text,
                 std::span<const TokenId> end_ids, const TrainOptions& options, Ranks& ranks)
    : ranks_(ranks), has_teacher_(runner.has_teacher()), end_ids_(end_ids.begin(), end_ids.end()) {
  bool any = false;
  for (Batch& batch : batches_of(examples, options, ranks, any)) {
    std::vector<std::uint32_t> indices = indices_of(batch);
    at::Tensor hidden;
    if (has_teacher_) hidden = runner.teacher_hidden(batch);
    parts_.push_back({std::move(batch), std::move(indices), std::move(hidden)});
  }
  empty_ = !any;
  if (empty_) return;
  bool any_text = false;
  text_ = batches_of(text, options, ranks, any_text);
  if (!has_teacher_) return;
  for (const Batch& batch : text_) text_teacher_ += runner.measure_teacher(runner.teacher_hidden(batch), batch.targets);
}

evaluate::HealthSums HeldOut::compare(const Part& part, std::int64_t begin, const at::Tensor& student,
                                      const at::Tensor& teacher) const {
  const auto rows = static_cast<std::size_t>(student.size(0));
  const auto first_row = static_cast<std::size_t>(begin);
  std::vector<std::optional<evaluate::TokenComparison>> tokens(rows);
  model::parallel_for(0, student.size(0), 1, [&](std::int64_t first, std::int64_t last) {
    std::vector<float> student_scratch, teacher_scratch;
    for (auto row = static_cast<std::size_t>(first); row < static_cast<std::size_t>(last); ++row) {
      tokens[row] = evaluate::compare_rows(part.indices[first_row + row], part.batch.targets[first_row + row],
                                           model::floats_of_row(teacher, row, teacher_scratch),
                                           model::floats_of_row(student, row, student_scratch), end_ids_);
    }
  });
  evaluate::HealthSums sums;
  for (const auto& token : tokens) {  // in their order: the number of threads doesn't show
    if (!token) continue;
    const bool ended = std::find(end_ids_.begin(), end_ids_.end(), token->id) != end_ids_.end();
    sums.add(*token, token->position, ended);
  }
  return sums;
}

Result<HeldOutFigures> HeldOut::measure(StepRunner& runner) const {
  LossSums sums;
  evaluate::HealthSums::Flat health{};
  for (const Part& part : parts_) {
    const auto add = [&](std::int64_t begin, const at::Tensor& student, const at::Tensor& teacher) {
      const auto chunk = compare(part, begin, student, teacher).flat();
      for (std::size_t i = 0; i < chunk.size(); ++i) health[i] += chunk[i];
    };
    const at::Tensor hidden = runner.student_hidden(part.batch);
    // Without a teacher the student stands beside itself, and what compares the two is left out below.
    sums += has_teacher_ ? runner.measure(hidden, part.teacher, part.batch.targets, add)
                         : runner.measure_student(hidden, part.batch.targets, add);
  }
  LossSums text;
  for (const Batch& batch : text_) text += runner.measure_student(runner.student_hidden(batch), batch.targets);
  constexpr std::size_t kOthers = 5;
  const at::Tensor figures = at::empty({static_cast<std::int64_t>(kOthers + health.size())}, at::kDouble);
  auto* figure = figures.mutable_data_ptr<double>();
  figure[0] = has_teacher_ ? sums.kl : sums.cross_entropy;
  figure[1] = static_cast<double>(sums.tokens);
  figure[2] = text.cross_entropy;
  figure[3] = text_teacher_.cross_entropy;
  figure[4] = static_cast<double>(text.tokens);
  std::copy(health.begin(), health.end(), figure + kOthers);
  RETORT_TRY(ranks_.sum(figures));
  HeldOutFigures result;
  if (!(figure[1] > 0)) return result;
  result.loss = figure[0] / figure[1];
  std::copy(figure + kOthers, figure + kOthers + health.size(), health.begin());
  result.health = student_health(evaluate::HealthSums::from_flat(health));
  if (result.health && !has_teacher_) forget_teacher(*result.health);
  const double tokens = figure[4];
  if (result.health && tokens > 0 && std::isfinite(figure[2]) && std::isfinite(figure[3])) {
    result.health->text = TextFigures{std::llround(tokens), perplexity_of(figure[2] / tokens), std::nullopt};
    if (has_teacher_) result.health->text->teacher = perplexity_of(figure[3] / tokens);
  }
  return result;
}

}  // namespace retort::train
