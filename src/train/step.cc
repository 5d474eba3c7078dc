#include "train/step.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/random.h"
#include "train/hidden_states.h"
#include "train/lora.h"

namespace retort::train {
namespace {

// Adds the time since the last lap to a phase.
class Laps {
 public:
  // `waited_for`: whose work has to be done before a lap ends; the processor's has been anyway.
  Laps(const Clock& clock, model::Backend waited_for)
      : clock_(&clock), waited_for_(waited_for), last_s_(clock.monotonic_s()) {}
  void lap(double& phase_s) {
    model::wait_for(waited_for_);
    const double now_s = clock_->monotonic_s();
    phase_s += now_s - last_s_;
    last_s_ = now_s;
  }

 private:
  const Clock* clock_;
  model::Backend waited_for_;
  double last_s_;
};

AdamWOptions adamw_options(const TrainOptions& options, model::Backend backend) {
  return {options.beta1,
          options.beta2,
          options.epsilon,
          options.weight_decay,
          options.clip_norm,
          static_cast<int>(options.optimiser_bits),
          backend};
}

// The rows of a step that a rank computes.
std::span<const dataset::PackedRow> share_of(std::span<const dataset::PackedRow> rows, int rank, int world) {
  const auto at = static_cast<std::size_t>(rank);
  const auto ranks = static_cast<std::size_t>(world);
  const std::size_t first = rows.size() * at / ranks;
  return rows.subspan(first, rows.size() * (at + 1) / ranks - first);
}

}  // namespace

StepRunner::StepRunner(const model::Decoder& teacher, model::Decoder student, const TrainOptions& options,
                       const Clock& clock, TeacherStates* states, Ranks* ranks, const CachedSignal* cached)
    : StepRunner(&teacher, {teacher.compute_type(), teacher.backend()}, std::move(student), options, clock, states,
                 ranks, cached) {}

StepRunner::StepRunner(ComputedIn computed_in, model::Decoder student, const TrainOptions& options, const Clock& clock,
                       Ranks* ranks, const CachedSignal& cached)
    : StepRunner(nullptr, computed_in, std::move(student), options, clock, nullptr, ranks, &cached) {}

StepRunner::StepRunner(const model::Decoder* teacher, ComputedIn computed_in, model::Decoder student,
                       const TrainOptions& options, const Clock& clock, TeacherStates* states, Ranks* ranks,
                       const CachedSignal* cached)
    : teacher_(teacher),
      student_(student.clone(computed_in.type, computed_in.backend)),
      options_(options),
      clock_(clock),
      states_(states),
      cached_(cached),
      optimiser_(adamw_options(options, computed_in.backend)),
      alone_(ranks == nullptr ? one_rank() : nullptr),
      ranks_(ranks == nullptr ? *alone_ : *ranks),
      objective_(student.config().vocabulary, options.head_rows, model::dtype_of(computed_in.type),
                 objective_mix(options), on_policy_mix(options), computed_in.backend) {
  RETORT_CHECK(teacher == nullptr || student.config().vocabulary == teacher->config().vocabulary);
  RETORT_CHECK(student.compute_type() == model::ComputeType::kFloat32);
  if (trains_adapters(options)) {
    add_adapters();
  } else {
    add_weights(std::move(student));
  }
  const std::int64_t layers = student_.config().layers;
  for (std::int64_t layer = 0; layer <= layers; ++layer) {
    const std::string prefix = layer < layers ? "blk." + std::to_string(layer) + "." : "output_norm.";
    const auto first = std::find_if(parameters_.begin(), parameters_.end(), [&](const model::NamedTensor& parameter) {
      return parameter.name.starts_with(prefix);
    });
    RETORT_CHECK(first != parameters_.end() || (layer == layers && trains_adapters(options)));
    blocks_.push_back(static_cast<std::size_t>(first - parameters_.begin()));
  }
  RETORT_CHECK(std::is_sorted(blocks_.begin(), blocks_.end()) && (!embedding_ || *embedding_ < blocks_.front()));
  sharding_.emplace(optimiser_, ranks_);
}

void StepRunner::add_adapters() {
  student_.add_adapters(adapter_config(options_), derive_seed(static_cast<std::uint64_t>(options_.seed), "train.lora"));
  parameters_ = student_.named_adapters();
  for (const auto& [name, tensor] : parameters_) optimiser_.add(name, tensor);
}

void StepRunner::add_weights(model::Decoder student) {
  parameters_ = student_.named_parameters();
  std::vector<model::NamedTensor> masters = student.named_parameters();
  { const model::Decoder given_up = std::move(student); }  // so that each weight's memory goes when it is added
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
    optimiser_.add(parameters_[i].name, parameters_[i].tensor, std::move(masters[i].tensor),
                   embedding || head ? options_.embedding_rate : 1.0);
  }
}

at::Tensor StepRunner::teacher_hidden(const Batch& batch) const {
  const torch::NoGradGuard no_gradient;
  RETORT_CHECK(teacher_ != nullptr);
  return at_supervised(teacher_->forward(batch.tokens).flatten(0, 1), batch);
}

at::Tensor StepRunner::student_hidden(const Batch& batch) const {
  const torch::NoGradGuard no_gradient;
  return at_supervised(student_.forward(batch.tokens).flatten(0, 1), batch);
}

LossSums StepRunner::measure(const Batch& batch, const at::Tensor& teacher_hidden) {
  return measure(student_hidden(batch), teacher_hidden, batch.targets);
}

LossSums StepRunner::measure(const at::Tensor& student_hidden, const at::Tensor& teacher_hidden,
                             std::span<const TokenId> targets, const VisitLogits& visit) {
  RETORT_CHECK(teacher_ != nullptr);
  return objective_.measure(student_hidden, student_.head_weight(), teacher_hidden, teacher_->head_weight(), targets,
                            visit);
}

LossSums StepRunner::measure_student(const at::Tensor& student_hidden, std::span<const TokenId> targets,
                                     const VisitLogits& visit) {
  return objective_.measure(student_hidden, student_.head_weight(), student_hidden, student_.head_weight(), targets,
                            visit);
}

LossSums StepRunner::measure_teacher(const at::Tensor& teacher_hidden, std::span<const TokenId> targets) {
  RETORT_CHECK(teacher_ != nullptr);
  return objective_.measure(teacher_hidden, teacher_->head_weight(), teacher_hidden, teacher_->head_weight(), targets);
}

StepRunner::TeacherSignal StepRunner::teacher_signal(RowSource source, std::span<const dataset::PackedRow> rows,
                                                     const Batch& batch, bool keep) {
  if (cached_ != nullptr && source == RowSource::kData) return {{}, {}, cached_->find(rows)};
  RETORT_CHECK(teacher_ != nullptr);
  if (options_.hidden_state_weight > 0) {
    HiddenTargets targets = hidden_targets(*teacher_, student_.config(), batch.tokens);
    return {at_supervised(targets.final.flatten(0, 1), batch), std::move(targets.targets), {}};
  }
  if (states_ == nullptr || source == RowSource::kRollouts || !keep) return {teacher_hidden(batch), {}, {}};
  at::Tensor states = states_->find(rows);
  if (!states.defined()) {
    states = teacher_hidden(batch);
    states_->keep(rows, states);
  }
  return {states.to(teacher_->device()), {}, {}};
}

void StepRunner::keep_states(std::span<const dataset::PackedRow> rows) {
  if (states_ == nullptr) return;
  for (const auto micro_batch : micro_batches(rows, options_.micro_batch_tokens)) {
    const Batch batch = make_batch(micro_batch);
    if (!batch.targets.empty()) teacher_signal(RowSource::kData, micro_batch, batch, true);
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

void StepRunner::begin_sums(std::size_t first, std::size_t last, const Totals& totals) {
  // What autograd gives is of the parameter's type, and one such gradient is what it was in FP32, too. What is made by
  // hand is a sum. Between devices all sums are made in FP32.
  const bool single = totals.sums_are_single && student_.backend() == model::Backend::kKernels;
  const auto in_bf16 = [&](std::size_t i) {
    return single && parameters_[i].tensor.scalar_type() == at::kBFloat16 && i != embedding_ && i != head_;
  };
  for (std::size_t begin = first, end = first; begin < last; begin = end) {
    while (end < last && in_bf16(end) == in_bf16(begin)) ++end;
    sharding_->begin_sums(begin, end, in_bf16(begin));
  }
}

std::vector<StepRunner::MicroBatch> StepRunner::micro_batches_of(const StepRows& rows, int rank, int world,
                                                                 std::int64_t tokens) {
  std::vector<MicroBatch> own;
  for (const RowSource source : {RowSource::kData, RowSource::kRollouts}) {
    const auto& from = source == RowSource::kData ? rows.data : rows.rollouts;
    for (const auto part : micro_batches(share_of(from, rank, world), tokens)) {
      const bool any =
          std::any_of(part.begin(), part.end(), [](const dataset::PackedRow& row) { return row.targets > 0; });
      if (any) own.push_back({source, part});
    }
  }
  return own;
}

void StepRunner::count(std::span<const MicroBatch> batches, Totals& totals) {
  for (const MicroBatch& micro_batch : batches) {
    for (const dataset::PackedRow& row : micro_batch.rows) {
      totals.targets += row.targets;
      totals.tokens += row.used;
    }
  }
}

void StepRunner::accumulate(const MicroBatch& micro_batch, const Totals& totals, Pass pass, bool keep,
                            StepResult& result) {
  const bool backward = pass != Pass::kLoss;
  Laps laps(clock_, laps_wait_for_);
  const Batch batch = make_batch(micro_batch.rows);
  const TeacherSignal teacher = teacher_signal(micro_batch.source, micro_batch.rows, batch, keep);
  laps.lap(phases_.teacher_s);
  const at::Tensor ids = batch.tokens.ids.flatten();
  const model::Decoder::Layout layout = student_.layout(batch.tokens);
  const auto layers = static_cast<std::size_t>(student_.config().layers);
  const bool recompute = options_.recompute == "blocks";
  // Each block has a graph of its own, from its input to its output.
  std::vector<at::Tensor> inputs(layers + 1);  // the last is the final norm's
  std::vector<at::Tensor> outputs(layers);
  std::vector<at::Tensor> hidden_state_gradients(layers);
  at::Tensor counted;  // for those
  if (!teacher.layers.empty()) {
    counted = batch.tokens.documents.view({-1, 1}).ge(0).to(student_.device(), at::kFloat);
  }
  {
    const torch::NoGradGuard no_gradient;
    inputs[0] = student_.embed(ids);
  }
  for (std::size_t layer = 0; layer < layers; ++layer) {
    inputs[layer].set_requires_grad(backward);
    const torch::AutoGradMode record(backward && !recompute);
    at::Tensor output = student_.apply_block(static_cast<std::int64_t>(layer), inputs[layer], layout);
    inputs[layer + 1] = output.detach();
    if (backward && !recompute) outputs[layer] = std::move(output);
    if (!backward) inputs[layer].reset();
    if (layer >= teacher.layers.size()) continue;
    hidden_state_gradients[layer] =
        hidden_state_gradient(inputs[layer + 1], teacher.layers[layer], counted, options_.hidden_state_weight,
                              totals.tokens, result.hidden_state_error);
  }
  inputs[layers].set_requires_grad(backward);
  const at::Tensor hidden = student_.apply_final_norm(inputs[layers]);
  laps.lap(phases_.forward_s);

  at::Tensor gradient;
  {
    const torch::NoGradGuard no_gradient;
    const at::Tensor supervised = at_supervised(hidden.detach(), batch);
    at::Tensor supervised_gradient = at::empty_like(supervised);
    AdamW::UnwrittenSum head;
    if (backward && head_) head = optimiser_.gradient_sum_to_write(*head_);
    const bool kept = cached_ != nullptr && micro_batch.source == RowSource::kData;
    const LossSums sums =
        kept ? objective_.backward(supervised, student_.head_weight(), teacher.sparse, batch.targets, totals.targets,
                                   supervised_gradient, head.values, head.is_unwritten)
             : objective_.backward(micro_batch.source, supervised, student_.head_weight(), teacher.hidden,
                                   teacher_->head_weight(), batch.targets, totals.targets, supervised_gradient,
                                   head.values, head.is_unwritten);
    result.sums += sums;
    if (micro_batch.source == RowSource::kRollouts) result.rollouts += sums;
    if (!backward) return;
    gradient = at::zeros(hidden.sizes(), supervised.options());
    gradient.index_copy_(0, batch.supervised.to(gradient.device()), supervised_gradient);
  }
  laps.lap(phases_.head_s);

  const auto done_with = [&](std::size_t begin, std::size_t end) {
    take_gradients(begin, end);
    if (pass == Pass::kLastGradients) begin_sums(begin, end, totals);
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
  if (embedding_) {
    at::Tensor sum = optimiser_.gradient_sum(*embedding_);
    if (sum.defined()) add_embedding_gradient(ids, gradient, sum);
  }
  if (pass == Pass::kLastGradients) begin_sums(0, blocks_[0], totals);
  laps.lap(phases_.backward_s);
}

void StepRunner::finish(const Totals& totals, StepResult& result) const {
  result.loss = result.sums.loss / static_cast<double>(totals.targets) +
                options_.hidden_state_weight * result.hidden_state_error / static_cast<double>(totals.tokens);
  const std::int64_t compared = (student_.config().layers - 1) * totals.tokens;
  if (compared > 0) result.hidden_state_error /= static_cast<double>(compared);
}

StepResult StepRunner::alone(const StepRows& rows, std::int64_t micro_batch_tokens, Pass pass) {
  const std::vector<MicroBatch> all = micro_batches_of(rows, 0, 1, micro_batch_tokens);
  Totals totals;
  count(all, totals);
  RETORT_CHECK(totals.targets > 0);
  StepResult result;
  for (const MicroBatch& micro_batch : all) accumulate(micro_batch, totals, pass, false, result);
  take_late_sums(result);
  if (pass != Pass::kLoss) optimiser_.settle_gradients();
  finish(totals, result);
  return result;
}

void StepRunner::take_late_sums(StepResult& result) {
  result.sums += objective_.take_sums(RowSource::kData);
  const LossSums rollouts = objective_.take_sums(RowSource::kRollouts);
  result.sums += rollouts;
  result.rollouts += rollouts;
}

StepResult StepRunner::gradients(const StepRows& rows, std::int64_t micro_batch_tokens) {
  optimiser_.zero_gradients();
  return alone(rows, micro_batch_tokens, Pass::kGradients);
}

double StepRunner::loss(const StepRows& rows) { return alone(rows, options_.micro_batch_tokens, Pass::kLoss).loss; }

Result<StepResult> StepRunner::step(const StepRows& rows, double learning_rate) {
  const int world = ranks_.world();
  Totals totals;
  for (int rank = 0; rank < world; ++rank) {
    const std::vector<MicroBatch> batches = micro_batches_of(rows, rank, world, options_.micro_batch_tokens);
    count(batches, totals);
    totals.sums_are_single = totals.sums_are_single && batches.size() <= 1;
  }
  RETORT_CHECK(totals.targets > 0);
  StepResult result;
  Laps laps(clock_, laps_wait_for_);
  optimiser_.zero_gradients();
  laps.lap(phases_.optimiser_s);
  const std::vector<MicroBatch> own = micro_batches_of(rows, ranks_.rank(), world, options_.micro_batch_tokens);
  for (std::size_t i = 0; i < own.size(); ++i) {
    accumulate(own[i], totals, i + 1 == own.size() ? Pass::kLastGradients : Pass::kGradients, true, result);
  }
  laps = Laps(clock_, laps_wait_for_);
  if (own.empty()) {  // the others wait for its sums all the same, in the order of accumulate()
    begin_sums(blocks_.back(), parameters_.size(), totals);
    for (std::size_t layer = blocks_.size() - 1; layer-- > 0;) begin_sums(blocks_[layer], blocks_[layer + 1], totals);
    begin_sums(0, blocks_[0], totals);
  }
  take_late_sums(result);
  std::vector<double> figures = {result.hidden_state_error};
  for (const LossSums* sums : {&result.sums, &result.rollouts}) {
    for (const double figure :
         {sums->loss, sums->kl, sums->cross_entropy, static_cast<double>(sums->tokens),
          static_cast<double>(sums->bad_student_rows), static_cast<double>(sums->bad_teacher_rows)}) {
      figures.push_back(figure);
    }
  }
  const at::Tensor reduced = at::tensor(figures, at::kDouble);
  RETORT_ASSIGN(result.gradient_norm, sharding_->finish_sums(reduced));
  const auto* figure = reduced.const_data_ptr<double>();
  result.hidden_state_error = *figure++;
  for (LossSums* sums : {&result.sums, &result.rollouts}) {
    const auto whole = [&](int index) { return static_cast<std::int64_t>(figure[index]); };
    *sums = {figure[0], figure[1], figure[2], whole(3), whole(4), whole(5)};
    figure += 6;
  }
  finish(totals, result);
  RETORT_TRY(sharding_->update(learning_rate, result.gradient_norm));
  laps.lap(phases_.optimiser_s);
  return result;
}

std::string StepRunner::not_finite_gradient() const {
  for (const AdamWParameter& parameter : optimiser_.parameters()) {
    if (parameter.frozen()) continue;
    const at::Tensor part = parameter.gradient.flatten().narrow(0, parameter.first, parameter.count);
    if (!part.isfinite().all().item<bool>()) return parameter.name;
  }
  return {};
}

}  // namespace retort::train
