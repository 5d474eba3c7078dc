#include "train/step.h"

#include <torch/torch.h>

#include "base/error.h"

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
                 options.cross_entropy_weight),
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

at::Tensor StepRunner::kept_or_computed(std::span<const dataset::PackedRow> rows, const Batch& batch) {
  if (states_ == nullptr) return teacher_hidden(batch);
  at::Tensor states = states_->find(rows);
  if (states.defined()) return states;
  states = teacher_hidden(batch);
  states_->keep(rows, states);
  return states;
}

void StepRunner::keep_states(std::span<const dataset::PackedRow> rows) {
  if (states_ == nullptr) return;
  for (const auto micro_batch : micro_batches(rows, options_.micro_batch_tokens)) {
    const Batch batch = make_batch(micro_batch);
    if (!batch.targets.empty()) kept_or_computed(micro_batch, batch);
  }
}

LossSums StepRunner::accumulate(const Batch& batch, const at::Tensor& teacher, std::int64_t targets_in_step) {
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
  for (std::int64_t layer = 0; layer < student_.config().layers; ++layer) {
    hidden = student_.apply_block(layer, hidden, layout);
  }
  hidden = student_.apply_final_norm(hidden);
  laps.lap(phases_.forward_s);

  at::Tensor gradient;
  LossSums sums;
  {
    const torch::NoGradGuard no_gradient;
    const at::Tensor supervised = hidden.detach().index_select(0, batch.supervised);
    at::Tensor supervised_gradient = at::empty_like(supervised);
    at::Tensor& head_gradient = optimiser_.parameters()[head_].gradient;
    sums = objective_.backward(supervised, student_.head_weight(), teacher, teacher_.head_weight(), batch.targets,
                               targets_in_step, supervised_gradient, head_gradient);
    gradient = at::zeros(hidden.sizes(), supervised.options());
    gradient.index_copy_(0, batch.supervised, supervised_gradient);
  }
  laps.lap(phases_.head_s);
  hidden.backward(gradient);
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
  return sums;
}

StepResult StepRunner::step(std::span<const dataset::PackedRow> rows, double learning_rate) {
  std::int64_t targets = 0;
  for (const dataset::PackedRow& row : rows) targets += row.targets;
  RETORT_CHECK(targets > 0);
  StepResult result;
  Laps laps(clock_);
  optimiser_.zero_gradients();
  laps.lap(phases_.optimiser_s);
  for (const auto micro_batch : micro_batches(rows, options_.micro_batch_tokens)) {
    const Batch batch = make_batch(micro_batch);
    if (batch.targets.empty()) continue;
    laps = Laps(clock_);
    const at::Tensor teacher = kept_or_computed(micro_batch, batch);
    laps.lap(phases_.teacher_s);
    result.sums += accumulate(batch, teacher, targets);
  }
  laps = Laps(clock_);
  result.gradient_norm = optimiser_.step(learning_rate);
  laps.lap(phases_.optimiser_s);
  return result;
}

std::vector<model::NamedTensor> StepRunner::masters() const {
  std::vector<model::NamedTensor> all;
  for (const AdamWParameter& parameter : optimiser_.parameters()) all.push_back({parameter.name, parameter.master});
  return all;
}

}  // namespace retort::train
