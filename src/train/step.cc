#include "train/step.h"

#include <torch/torch.h>

#include <cmath>
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
  return {options.beta1, options.beta2, options.epsilon, options.weight_decay, options.clip_norm};
}

}  // namespace

StepRunner::StepRunner(const model::Decoder& teacher, const model::Decoder& student, const TrainOptions& options,
                       const Clock& clock, TeacherStates* states)
    : teacher_(teacher),
      student_(student.clone(teacher.compute_type())),
      options_(options),
      clock_(clock),
      states_(states),
      optimiser_(adamw_options(options)),
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

void StepRunner::accumulate(const Batch& batch, const TeacherSignal& teacher, const Totals& totals,
                            StepResult& result) {
  Laps laps(clock_);
  const at::Tensor ids = batch.tokens.ids.flatten();
  const model::Decoder::Layout layout = student_.layout(batch.tokens);
  at::Tensor embedded;
  {
    const torch::NoGradGuard no_gradient;
    embedded = student_.embed(ids);
  }
  embedded.set_requires_grad(true);
  at::Tensor hidden = embedded;
  // Where gradients enter the graph: between layers, and at its end.
  std::vector<at::Tensor> roots;
  std::vector<at::Tensor> root_gradients;
  for (std::int64_t layer = 0; layer < student_.config().layers; ++layer) {
    hidden = student_.apply_block(layer, hidden, layout);
    if (static_cast<std::size_t>(layer) >= teacher.layers.size()) continue;
    roots.push_back(hidden);
    root_gradients.push_back(hidden_state_gradient(hidden.detach(), teacher.layers[static_cast<std::size_t>(layer)],
                                                   options_.hidden_state_weight, totals.tokens,
                                                   result.hidden_state_error));
  }
  hidden = student_.apply_final_norm(hidden);
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
  roots.push_back(hidden);
  root_gradients.push_back(gradient);
  torch::autograd::backward(roots, root_gradients);
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (i == embedding_ || i == head_) continue;
    at::Tensor& own = parameters_[i].tensor.mutable_grad();
    RETORT_CHECK(own.defined());
    optimiser_.accumulate(i, own);
    own.reset();
  }
  AdamWParameter& embedding = optimiser_.parameters()[embedding_];
  if (!embedding.frozen()) add_embedding_gradient(ids, embedded.grad(), embedding.gradient);
  laps.lap(phases_.backward_s);
}

StepResult StepRunner::step(std::span<const dataset::PackedRow> rows, double learning_rate) {
  Totals totals;
  for (const auto micro_batch : micro_batches(rows, options_.micro_batch_tokens)) {
    std::int64_t targets = 0;
    for (const dataset::PackedRow& row : micro_batch) targets += row.targets;
    if (targets == 0) continue;  // nothing is computed for it
    totals.targets += targets;
    for (const dataset::PackedRow& row : micro_batch) totals.tokens += row.used;
  }
  RETORT_CHECK(totals.targets > 0);
  StepResult result;
  Laps laps(clock_);
  optimiser_.zero_gradients();
  laps.lap(phases_.optimiser_s);
  for (const auto micro_batch : micro_batches(rows, options_.micro_batch_tokens)) {
    const Batch batch = make_batch(micro_batch);
    if (batch.targets.empty()) continue;
    laps = Laps(clock_);
    const TeacherSignal teacher = teacher_signal(micro_batch, batch);
    laps.lap(phases_.teacher_s);
    accumulate(batch, teacher, totals, result);
  }
  const std::int64_t compared = (student_.config().layers - 1) * totals.tokens;
  if (compared > 0) result.hidden_state_error /= static_cast<double>(compared);
  laps = Laps(clock_);
  result.gradient_norm = optimiser_.step(learning_rate);
  laps.lap(phases_.optimiser_s);
  return result;
}

std::string StepRunner::not_finite_gradient() const {
  for (const AdamWParameter& parameter : optimiser_.parameters()) {
    if (parameter.frozen()) continue;
    const auto size = static_cast<std::size_t>(parameter.gradient.numel());
    if (!std::isfinite(kernels().sum_of_squares(parameter.gradient.const_data_ptr<float>(), size))) {
      return parameter.name;
    }
  }
  return {};
}

std::vector<model::NamedTensor> StepRunner::masters() const {
  std::vector<model::NamedTensor> all;
  for (const AdamWParameter& parameter : optimiser_.parameters()) all.push_back({parameter.name, parameter.master});
  return all;
}

}  // namespace retort::train
