#include "train/step.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "base/error.h"
#include "train/hidden_states.h"
#include "train/kernels.h"

namespace retort::train {
namespace {

// Adds the time since the last lap to a phase.
class Laps {
 public:
  explicit Laps(const Clock& clock) : clock_(&clock), last_s_(clock.monotonic_s()) {}
  void lap(double& phase_s) {
    const double now_s = clock_->monotonic_s();
    phase_s += now_s - last_s_;
    last_s_ = now_s;
  }

 private:
  const Clock* clock_;
  double last_s_;
};

AdamWOptions adamw_options(const TrainOptions& options) {
  return {options.beta1,        options.beta2,     options.epsilon,
          options.weight_decay, options.clip_norm, static_cast<int>(options.optimiser_bits)};
}

// The rows of a step that a rank computes.
std::span<const dataset::PackedRow> share_of(std::span<const dataset::PackedRow> rows, int rank, int world) {
  const auto at = static_cast<std::size_t>(rank);
  const auto ranks = static_cast<std::size_t>(world);
  const std::size_t first = rows.size() * at / ranks;
  return rows.subspan(first, rows.size() * (at + 1) / ranks - first);
}

// Its micro-batches that have something to learn; nothing is computed for others.
std::vector<std::span<const dataset::PackedRow>> supervised_batches(std::span<const dataset::PackedRow> rows,
                                                                    std::int64_t micro_batch_tokens) {
  auto batches = micro_batches(rows, micro_batch_tokens);
  std::erase_if(batches, [](const auto& batch) {
    return std::none_of(batch.begin(), batch.end(), [](const dataset::PackedRow& row) { return row.targets > 0; });
  });
  return batches;
}

}  // namespace

StepRunner::StepRunner(const model::Decoder& teacher, const model::Decoder& student, const TrainOptions& options,
                       const Clock& clock, TeacherStates* states, Ranks* ranks)
    : teacher_(teacher),
      student_(student.clone(teacher.compute_type())),
      options_(options),
      clock_(clock),
      states_(states),
      optimiser_(adamw_options(options)),
      alone_(ranks == nullptr ? one_rank() : nullptr),
      ranks_(ranks == nullptr ? *alone_ : *ranks),
      objective_(teacher.config().vocabulary, options.head_rows, model::dtype_of(teacher.compute_type()),
                 objective_mix(options)),
      parameters_(student_.named_parameters()) {
  RETORT_CHECK(student.config().vocabulary == teacher.config().vocabulary);
  RETORT_CHECK(student.compute_type() == model::ComputeType::kFloat32);
  const std::vector<model::NamedTensor> masters = student.named_parameters();
  RETORT_CHECK(masters.size() == parameters_.size());
  student_.set_requires_grad(true);
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    RETORT_CHECK(masters[i].name == parameters_[i].name);
    const bool embedding = parameters_[i].name == "token_embd.weight";
    const bool head = parameters_[i].name == "output.weight";
    if (embedding) embedding_ = i;
    if (head || (embedding && student_.config().tied_head)) head_ = i;
    // Their gradients are made by hand: autograd knows nothing of them.
    if (embedding || head) parameters_[i].tensor.set_requires_grad(false);
    optimiser_.add(parameters_[i].name, parameters_[i].tensor, masters[i].tensor,
                   embedding || head ? options.embedding_rate : 1.0);
  }
  for (std::int64_t layer = 0; layer <= student_.config().layers; ++layer) {
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    const auto first = std::find_if(parameters_.begin(), parameters_.end(), [&](const model::NamedTensor& parameter) {
      return parameter.name.starts_with(layer < student_.config().layers ? prefix : "output_norm.");
    });
    RETORT_CHECK(first != parameters_.end());
    blocks_.push_back(static_cast<std::size_t>(first - parameters_.begin()));
  }
  RETORT_CHECK(std::is_sorted(blocks_.begin(), blocks_.end()) && embedding_ < blocks_.front());
  sharding_.emplace(optimiser_, ranks_);
}

at::Tensor StepRunner::teacher_hidden(const Batch& batch) const {
  const torch::NoGradGuard no_gradient;
  return teacher_.forward(batch.tokens).flatten(0, 1).index_select(0, batch.supervised);
}

LossSums StepRunner::measure(const Batch& batch, const at::Tensor& teacher_hidden) {
  const torch::NoGradGuard no_gradient;
  const at::Tensor hidden = student_.forward(batch.tokens).flatten(0, 1).index_select(0, batch.supervised);
  return objective_.measure(hidden, student_.head_weight(), teacher_hidden, teacher_.head_weight(), batch.targets);
}

StepRunner::TeacherSignal StepRunner::teacher_signal(std::span<const dataset::PackedRow> rows, const Batch& batch) {
  if (options_.hidden_state_weight > 0) {
    HiddenTargets targets = hidden_targets(teacher_, student_.config(), batch.tokens);
    return {targets.final.flatten(0, 1).index_select(0, batch.supervised), std::move(targets.targets)};
  }
  if (states_ == nullptr) return {teacher_hidden(batch), {}};
  at::Tensor states = states_->find(rows);
  if (!states.defined()) {
    states = teacher_hidden(batch);
    states_->keep(rows, states);
  }
  return {std::move(states), {}};
}

void StepRunner::keep_states(std::span<const dataset::PackedRow> rows) {
  if (states_ == nullptr) return;
  for (const auto micro_batch : micro_batches(rows, options_.micro_batch_tokens)) {
    const Batch batch = make_batch(micro_batch);
    if (!batch.targets.empty()) teacher_signal(micro_batch, batch);
  }
}

void StepRunner::take_gradients(std::size_t first, std::size_t last) {
  for (std::size_t i = first; i < last; ++i) {
    if (i == embedding_ || i == head_) continue;
    at::Tensor& own = parameters_[i].tensor.mutable_grad();
    RETORT_CHECK(own.defined());
    optimiser_.accumulate(i, own);
    own.reset();
  }
}

void StepRunner::accumulate(const Batch& batch, const TeacherSignal& teacher, const Totals& totals, bool last,
                            StepResult& result) {
  Laps laps(clock_);
  const at::Tensor ids = batch.tokens.ids.flatten();
  const model::Decoder::Layout layout = student_.layout(batch.tokens);
  const auto layers = static_cast<std::size_t>(student_.config().layers);
  const bool recompute = options_.recompute == "blocks";
  // Each block has a graph of its own, from its input to its output.
  std::vector<at::Tensor> inputs(layers + 1);  // the last is the final norm's
  std::vector<at::Tensor> outputs(layers);
  std::vector<at::Tensor> hidden_state_gradients(layers);
  {
    const torch::NoGradGuard no_gradient;
    inputs[0] = student_.embed(ids);
  }
  for (std::size_t layer = 0; layer < layers; ++layer) {
    inputs[layer].set_requires_grad(true);
    const torch::AutoGradMode record(!recompute);
    at::Tensor output = student_.apply_block(static_cast<std::int64_t>(layer), inputs[layer], layout);
    inputs[layer + 1] = output.detach();
    if (!recompute) outputs[layer] = std::move(output);
    if (layer >= teacher.layers.size()) continue;
    hidden_state_gradients[layer] =
        hidden_state_gradient(inputs[layer + 1], teacher.layers[layer], options_.hidden_state_weight, totals.tokens,
                              result.hidden_state_error);
  }
  inputs[layers].set_requires_grad(true);
  const at::Tensor hidden = student_.apply_final_norm(inputs[layers]);
  laps.lap(phases_.forward_s);

  at::Tensor gradient;
  {
    const torch::NoGradGuard no_gradient;
    const at::Tensor supervised = hidden.detach().index_select(0, batch.supervised);
    at::Tensor supervised_gradient = at::empty_like(supervised);
    at::Tensor& head_gradient = optimiser_.parameters()[head_].gradient;
    result.sums += objective_.backward(supervised, student_.head_weight(), teacher.hidden, teacher_.head_weight(),
                                       batch.targets, totals.targets, supervised_gradient, head_gradient);
    gradient = at::zeros(hidden.sizes(), supervised.options());
    gradient.index_copy_(0, batch.supervised, supervised_gradient);
  }
  laps.lap(phases_.head_s);

  const auto done_with = [&](std::size_t begin, std::size_t end) {
    take_gradients(begin, end);
    if (last) sharding_->begin_sums(begin, end);
  };
  torch::autograd::backward({hidden}, {gradient});
  done_with(blocks_[layers], parameters_.size());
  gradient = inputs[layers].grad();
  for (std::size_t layer = layers; layer-- > 0;) {
    inputs[layer + 1].reset();
    if (hidden_state_gradients[layer].defined()) {
      const torch::NoGradGuard no_gradient;
      gradient.add_(hidden_state_gradients[layer]);
      hidden_state_gradients[layer].reset();
    }
    at::Tensor output = std::move(outputs[layer]);
    if (recompute) output = student_.apply_block(static_cast<std::int64_t>(layer), inputs[layer], layout);
    torch::autograd::backward({output}, {gradient});
    done_with(blocks_[layer], blocks_[layer + 1]);
    gradient = inputs[layer].grad();
  }
  AdamWParameter& embedding = optimiser_.parameters()[embedding_];
  if (!embedding.frozen()) add_embedding_gradient(ids, gradient, embedding.gradient);
  if (last) sharding_->begin_sums(0, blocks_[0]);
  laps.lap(phases_.backward_s);
}

Result<StepResult> StepRunner::step(std::span<const dataset::PackedRow> rows, double learning_rate) {
  Totals totals;
  for (int rank = 0; rank < ranks_.world(); ++rank) {
    for (const auto micro_batch :
         supervised_batches(share_of(rows, rank, ranks_.world()), options_.micro_batch_tokens)) {
      for (const dataset::PackedRow& row : micro_batch) {
        totals.targets += row.targets;
        totals.tokens += row.used;
      }
    }
  }
  RETORT_CHECK(totals.targets > 0);
  StepResult result;
  Laps laps(clock_);
  optimiser_.zero_gradients();
  laps.lap(phases_.optimiser_s);
  const auto own = supervised_batches(share_of(rows, ranks_.rank(), ranks_.world()), options_.micro_batch_tokens);
  for (std::size_t i = 0; i < own.size(); ++i) {
    const Batch batch = make_batch(own[i]);
    laps = Laps(clock_);
    const TeacherSignal teacher = teacher_signal(own[i], batch);
    laps.lap(phases_.teacher_s);
    accumulate(batch, teacher, totals, i + 1 == own.size(), result);
  }
  laps = Laps(clock_);
  if (own.empty()) {  // the others wait for its sums all the same, in the order of accumulate()
    sharding_->begin_sums(blocks_.back(), parameters_.size());
    for (std::size_t layer = blocks_.size() - 1; layer-- > 0;)
      sharding_->begin_sums(blocks_[layer], blocks_[layer + 1]);
    sharding_->begin_sums(0, blocks_[0]);
  }
  const LossSums& mine = result.sums;
  const at::Tensor figures = at::tensor({mine.loss, mine.kl, mine.cross_entropy, static_cast<double>(mine.tokens),
                                         static_cast<double>(mine.bad_student_rows),
                                         static_cast<double>(mine.bad_teacher_rows), result.hidden_state_error},
                                        at::kDouble);
  RETORT_ASSIGN(result.gradient_norm, sharding_->finish_sums(figures));
  const auto* figure = figures.const_data_ptr<double>();
  const auto count = [&](int index) { return static_cast<std::int64_t>(figure[index]); };
  result.sums = {figure[0], figure[1], figure[2], count(3), count(4), count(5)};
  result.hidden_state_error = figure[6];
  const std::int64_t compared = (student_.config().layers - 1) * totals.tokens;
  if (compared > 0) result.hidden_state_error /= static_cast<double>(compared);
  optimiser_.step(learning_rate, result.gradient_norm);
  RETORT_TRY(sharding_->spread_weights());
  laps.lap(phases_.optimiser_s);
  return result;
}

std::string StepRunner::not_finite_gradient() const {
  for (const AdamWParameter& parameter : optimiser_.parameters()) {
    if (parameter.frozen()) continue;
    const float* part = parameter.gradient.const_data_ptr<float>() + parameter.first;
    if (!std::isfinite(kernels().sum_of_squares(part, static_cast<std::size_t>(parameter.count)))) {
      return parameter.name;
    }
  }
  return {};
}

}  // namespace retort::train
