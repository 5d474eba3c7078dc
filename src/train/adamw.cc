#include "train/adamw.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "model/parallel.h"
#include "train/bf16_values.h"
#include "train/dynamic_code.h"
#include "train/kernels.h"

namespace retort::train {
namespace {

constexpr std::int64_t kBlock = 1 << 16;
static_assert(kBlock % kCodeBlock == 0 && AdamW::kPartAlignment % kCodeBlock == 0);

MasterWeights weights_of(const StateValues& master) {
  if (!master.in_halves()) return {master.whole.mutable_data_ptr<float>(), nullptr, nullptr};
  return {nullptr, bf16_data(master.upper), master.lower.mutable_data_ptr<std::int16_t>()};
}

// Of its part.
GradientValues gradient_of(const AdamWParameter& parameter) {
  const at::Tensor& gradient = parameter.gradient;
  const bool is_float = gradient.scalar_type() == at::kFloat;
  const GradientValues whole = is_float ? GradientValues{gradient.const_data_ptr<float>(), nullptr}
                                        : GradientValues{nullptr, bf16_data(gradient)};
  return whole.from(parameter.first);
}

std::int64_t code_blocks(std::int64_t values) { return (values + kCodeBlock - 1) / kCodeBlock; }

// The update of kernels().adamw by libtorch's operations over many parameters at a time, which share a learning rate
// and a decay.
struct UpdateLists {
  std::vector<at::Tensor> masters, gradients, means, squares, steps, computes, rounded;
  void add(AdamWParameter& parameter, const at::Tensor& step) {
    masters.push_back(parameter.master.whole.view({-1}));
    gradients.push_back(parameter.gradient.flatten().narrow(0, parameter.first, parameter.count));
    means.push_back(parameter.m.values.view({-1}));
    squares.push_back(parameter.v.values.view({-1}));
    steps.push_back(step);
    if (parameter.compute.scalar_type() != at::kBFloat16) return;
    computes.push_back(parameter.compute.view({-1}).narrow(0, parameter.first, parameter.count));
    rounded.push_back(masters.back());
  }
};

}  // namespace

// Late, because what comes before the first step has a use for that memory.
void AdamW::need_moments() {
  const at::NoGradGuard no_gradient;
  for (AdamWParameter& parameter : parameters_) {
    if (parameter.frozen() || parameter.m.values.defined()) continue;
    const std::vector<std::int64_t> shape = parameter.master.sizes().vec();
    for (Moment* moment : {&parameter.m, &parameter.v}) {
      if (in_8_bits(parameter)) {
        moment->values = at::zeros(shape, parameter.master.options().dtype(at::kByte));
        moment->scales = at::zeros({code_blocks(parameter.count)}, parameter.master.options().dtype(at::kFloat));
      } else {
        moment->values = at::zeros(shape, parameter.master.options().dtype(at::kFloat));
      }
    }
  }
}

const at::Tensor& AdamW::begin_sum(AdamWParameter& parameter) const {
  if (!parameter.sum.defined()) {
    parameter.sum = at::empty(parameter.compute.sizes(), parameter.compute.options().dtype(at::kFloat));
  }
  return parameter.gradient = parameter.sum;
}

std::size_t AdamW::add(std::string name, at::Tensor compute, at::Tensor master, double rate) {
  const at::NoGradGuard no_gradient;
  RETORT_CHECK(compute.is_contiguous());
  RETORT_CHECK(compute.scalar_type() == at::kFloat || compute.scalar_type() == at::kBFloat16);
  AdamWParameter parameter;
  parameter.name = std::move(name);
  parameter.compute = compute.detach();  // shares the storage
  parameter.decays = parameter.compute.dim() > 1;
  parameter.rate = rate;
  parameter.count = parameter.compute.numel();
  if (parameter.compute.scalar_type() == at::kFloat) {
    if (master.defined()) parameter.compute.copy_(master);
    parameter.master.whole = parameter.compute;
  } else if (by_tensors()) {
    if (!master.defined()) master = parameter.compute;
    parameter.master.whole = master.detach().to(parameter.compute.device(), at::kFloat).contiguous();
  } else {
    parameter.master = in_halves(parameter.compute, master);
  }
  parameters_.push_back(std::move(parameter));
  return parameters_.size() - 1;
}

void AdamW::keep_part(std::size_t index, std::int64_t first, std::int64_t count) {
  const at::NoGradGuard no_gradient;
  AdamWParameter& parameter = parameters_[index];
  RETORT_CHECK(!parameter.frozen() && parameter.count == parameter.compute.numel());
  RETORT_CHECK(!parameter.m.values.defined());
  RETORT_CHECK(first % kPartAlignment == 0 && first + count <= parameter.count);
  if (count == parameter.count) return;
  parameter.first = first;
  parameter.count = count;
  const bool is_compute = parameter.compute.scalar_type() == at::kFloat;
  parameter.master = parameter.master.part(first, count);
  // What isn't the compute copy's memory is kept for the part alone.
  at::Tensor& own = parameter.master.in_halves() ? parameter.master.lower : parameter.master.whole;
  if (!is_compute) own = own.clone();
}

void AdamW::zero_gradients() {
  for (AdamWParameter& parameter : parameters_) parameter.gradient.reset();
}

void AdamW::forget_gradients() {
  zero_gradients();
  for (AdamWParameter& parameter : parameters_) parameter.sum.reset();
}

void AdamW::zero_unwritten(std::size_t first, std::size_t last) {
  const at::NoGradGuard no_gradient;
  std::vector<at::Tensor> unwritten;
  for (std::size_t i = first; i < last; ++i) {
    AdamWParameter& parameter = parameters_[i];
    if (!parameter.frozen() && !parameter.gradient.defined()) unwritten.push_back(begin_sum(parameter));
  }
  if (!unwritten.empty()) at::_foreach_zero_(unwritten);
}

void AdamW::settle_gradients(std::size_t first, std::size_t last) {
  zero_unwritten(first, last);
  for (std::size_t i = first; i < last; ++i) {
    AdamWParameter& parameter = parameters_[i];
    if (parameter.frozen() || parameter.gradient.scalar_type() == at::kFloat) continue;
    const at::Tensor single = parameter.gradient;
    copy_values(single, begin_sum(parameter));
  }
}

at::Tensor AdamW::gradient_sum(std::size_t index) {
  settle_gradients(index, index + 1);
  return parameters_[index].gradient;
}

AdamW::UnwrittenSum AdamW::gradient_sum_to_write(std::size_t index) {
  AdamWParameter& parameter = parameters_[index];
  if (parameter.frozen() || parameter.gradient.defined()) return {gradient_sum(index), false};
  return {begin_sum(parameter), true};
}

void AdamW::accumulate(std::size_t index, const at::Tensor& gradient) {
  const at::NoGradGuard no_gradient;
  AdamWParameter& parameter = parameters_[index];
  RETORT_CHECK(!parameter.frozen());
  RETORT_CHECK(parameter.compute.numel() == gradient.numel());
  const at::Tensor values = gradient.contiguous();
  if (!parameter.gradient.defined() && !by_tensors() && values.scalar_type() == at::kBFloat16) {
    parameter.gradient = values.detach();
    return;
  }
  const auto [sum, is_unwritten] = gradient_sum_to_write(index);
  if (by_tensors()) {
    if (is_unwritten) {
      sum.copy_(values);
    } else {
      sum.add_(values);
    }
  } else if (is_unwritten) {
    copy_values(values, sum);
  } else {
    add_values(values, sum);
  }
}

double AdamW::sum_of_squares() {
  zero_unwritten(0, parameters_.size());
  double sum = 0;
  if (by_tensors()) {
    std::vector<at::Tensor> parts;
    for (const AdamWParameter& parameter : parameters_) {
      if (parameter.frozen() || parameter.count == 0) continue;
      parts.push_back(parameter.gradient.flatten().narrow(0, parameter.first, parameter.count));
    }
    // Fetched once: a device answers late, but all at a time.
    return parts.empty() ? 0 : at::stack(at::_foreach_norm(parts)).to(at::kDouble).square().sum().item<double>();
  }
  for (const AdamWParameter& parameter : parameters_) {
    if (parameter.frozen()) continue;
    const std::int64_t n = parameter.count;
    const std::int64_t blocks = (n + kBlock - 1) / kBlock;
    std::vector<double> partial(static_cast<std::size_t>(blocks));
    const GradientValues values = gradient_of(parameter);
    model::parallel_for(0, blocks, 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t block = first; block < last; ++block) {
        const std::int64_t begin = block * kBlock;
        partial[static_cast<std::size_t>(block)] =
            kernels().sum_of_squares(values.from(begin), static_cast<std::size_t>(std::min(kBlock, n - begin)));
      }
    });
    for (const double value : partial) sum += value;
  }
  return sum;
}

void AdamW::step(double learning_rate, double gradient_norm) {
  if (const auto update = begin_step(learning_rate, gradient_norm)) update_range(*update, 0, parameters_.size());
}

std::optional<AdamW::Update> AdamW::begin_step(double learning_rate, double gradient_norm) {
  if (!std::isfinite(gradient_norm)) return std::nullopt;
  zero_unwritten(0, parameters_.size());
  need_moments();
  ++steps_done_;
  AdamStep step;
  step.beta1 = static_cast<float>(options_.beta1);
  step.beta2 = static_cast<float>(options_.beta2);
  step.epsilon = static_cast<float>(options_.epsilon);
  step.correction1 = static_cast<float>(1.0 - std::pow(options_.beta1, static_cast<double>(steps_done_)));
  step.correction2 = static_cast<float>(1.0 - std::pow(options_.beta2, static_cast<double>(steps_done_)));
  step.gradient_scale = options_.clip_norm > 0 && gradient_norm > options_.clip_norm
                            ? static_cast<float>(options_.clip_norm / gradient_norm)
                            : 1.0F;
  return Update{learning_rate, step};
}

void AdamW::update_range(const Update& update, std::size_t begin_at, std::size_t end_at) {
  if (by_tensors()) return update_by_tensors(update, begin_at, end_at);
  for (std::size_t i = begin_at; i < end_at; ++i) {
    AdamWParameter& parameter = parameters_[i];
    if (parameter.frozen() || parameter.count == 0) continue;
    AdamStep own = update.step;
    own.learning_rate = static_cast<float>(update.learning_rate * parameter.rate);
    own.weight_decay = parameter.decays ? static_cast<float>(options_.weight_decay) : 0.0F;
    const MasterWeights weights = weights_of(parameter.master);
    const GradientValues gradient = gradient_of(parameter);
    if (!in_8_bits(parameter)) {
      float* m = parameter.m.values.mutable_data_ptr<float>();
      float* v = parameter.v.values.mutable_data_ptr<float>();
      model::parallel_for(0, parameter.count, kBlock, [&](std::int64_t first, std::int64_t last) {
        kernels().adamw(weights.from(first), m + first, v + first, gradient.from(first),
                        static_cast<std::size_t>(last - first), own);
      });
      continue;
    }
    auto* m = parameter.m.values.mutable_data_ptr<std::uint8_t>();
    auto* v = parameter.v.values.mutable_data_ptr<std::uint8_t>();
    float* m_scales = parameter.m.scales.mutable_data_ptr<float>();
    float* v_scales = parameter.v.scales.mutable_data_ptr<float>();
    model::parallel_for(
        0, code_blocks(parameter.count), kBlock / kCodeBlock, [&](std::int64_t begin, std::int64_t end) {
          const std::int64_t first = begin * kCodeBlock;
          const std::int64_t last = std::min(end * kCodeBlock, parameter.count);
          kernels().adamw_8_bit(
              weights.from(first),
              {m + first, m_scales + begin, v + first, v_scales + begin, &signed_code(), &unsigned_code()},
              gradient.from(first), static_cast<std::size_t>(last - first), own);
        });
  }
}

void AdamW::update_by_tensors(const Update& update, std::size_t first, std::size_t last) {
  const double learning_rate = update.learning_rate;
  const double gradient_scale = update.step.gradient_scale;
  const at::NoGradGuard no_gradient;
  std::map<std::pair<double, bool>, UpdateLists> groups;  // by rate and decay
  at::Tensor done;
  std::optional<at::Tensor> divisor;
  for (std::size_t i = first; i < last; ++i) {
    AdamWParameter& parameter = parameters_[i];
    if (parameter.frozen() || parameter.count == 0) continue;
    if (!done.defined()) {
      const auto options = parameter.master.options().dtype(at::kFloat);
      done = at::full({}, static_cast<double>(steps_done_), options);
      if (gradient_scale != 1) divisor = at::full({}, 1.0 / gradient_scale, options);
    }
    if (in_8_bits(parameter)) {
      step_8_bits_by_tensors(parameter, learning_rate, done, divisor);
      continue;
    }
    groups[{parameter.rate, parameter.decays}].add(parameter, done);
  }
  for (auto& [kind, lists] : groups) {
    at::_fused_adamw_(lists.masters, lists.gradients, lists.means, lists.squares, {}, lists.steps,
                      learning_rate * kind.first, options_.beta1, options_.beta2,
                      kind.second ? options_.weight_decay : 0.0, options_.epsilon, false, false, divisor);
    if (!lists.computes.empty()) at::_foreach_copy_(lists.computes, lists.rounded);
  }
}

// The moments exist in FP32 for a piece of the parameter at a time.
void AdamW::step_8_bits_by_tensors(AdamWParameter& parameter, double learning_rate, const at::Tensor& steps_done,
                                   const std::optional<at::Tensor>& divisor) {
  constexpr std::int64_t kPiece = 1 << 24;
  static_assert(kPiece % kCodeBlock == 0);
  if (!m_code_) {
    m_code_.emplace(signed_code(), parameter.compute.device());
    v_code_.emplace(unsigned_code(), parameter.compute.device());
  }
  const bool copies = parameter.compute.scalar_type() == at::kBFloat16;
  for (std::int64_t begin = 0; begin < parameter.count; begin += kPiece) {
    const std::int64_t count = std::min(kPiece, parameter.count - begin);
    const auto piece = [&](const at::Tensor& of) { return of.view({-1}).narrow(0, begin, count); };
    const auto scales = [&](const Moment& of) { return of.scales.narrow(0, begin / kCodeBlock, code_blocks(count)); };
    at::Tensor m = m_code_->decode(piece(parameter.m.values), scales(parameter.m));
    at::Tensor v = v_code_->decode(piece(parameter.v.values), scales(parameter.v));
    at::Tensor master = piece(parameter.master.whole);
    at::Tensor gradient = parameter.gradient.view({-1}).narrow(0, parameter.first + begin, count);
    at::_fused_adamw_({master}, {gradient}, {m}, {v}, {}, {steps_done}, learning_rate * parameter.rate, options_.beta1,
                      options_.beta2, parameter.decays ? options_.weight_decay : 0.0, options_.epsilon, false, false,
                      divisor);
    m_code_->encode(m, piece(parameter.m.values), scales(parameter.m));
    v_code_->encode(v, piece(parameter.v.values), scales(parameter.v));
    if (copies) parameter.compute.view({-1}).narrow(0, parameter.first + begin, count).copy_(master);
  }
}

double AdamW::step(double learning_rate) {
  const double norm = std::sqrt(sum_of_squares());
  step(learning_rate, norm);
  return norm;
}

std::vector<StateTensor> AdamW::states() {
  need_moments();
  std::vector<StateTensor> all;
  for (const AdamWParameter& parameter : parameters_) {
    if (parameter.frozen()) continue;  // as the student's file has it
    const std::vector<std::int64_t> shape = parameter.compute.sizes().vec();
    all.push_back({parameter.name, parameter.master, shape, parameter.first});
    for (const auto& [prefix, moment] : {std::pair("adamw.m/", &parameter.m), std::pair("adamw.v/", &parameter.v)}) {
      all.push_back({prefix + parameter.name, {moment->values, {}, {}}, shape, parameter.first});
      if (!moment->scales.defined()) continue;
      all.push_back({prefix + parameter.name + "/scales",
                     {moment->scales, {}, {}},
                     {code_blocks(parameter.compute.numel())},
                     parameter.first / kCodeBlock});
    }
  }
  return all;
}

void AdamW::refresh_compute() {
  const at::NoGradGuard no_gradient;
  for (AdamWParameter& parameter : parameters_) {
    const bool is_written = parameter.compute.scalar_type() == at::kFloat || parameter.master.in_halves();
    if (is_written || parameter.frozen()) continue;
    parameter.compute.flatten().narrow(0, parameter.first, parameter.count).copy_(parameter.master.whole.flatten());
  }
}

void AdamW::forget_state() {
  forget_gradients();
  for (AdamWParameter& parameter : parameters_) parameter.m = parameter.v = Moment();
}

std::int64_t AdamW::bytes() const {
  std::size_t sum = 0;
  for (const AdamWParameter& parameter : parameters_) {
    if (parameter.sum.defined()) sum += parameter.sum.nbytes();
    const bool apart = parameter.gradient.defined() && !parameter.gradient.is_same(parameter.sum);
    if (apart) sum += parameter.gradient.nbytes();
    for (const Moment* moment : {&parameter.m, &parameter.v}) {
      if (moment->values.defined()) sum += moment->values.nbytes();
      if (moment->scales.defined()) sum += moment->scales.nbytes();
    }
    if (parameter.master.in_halves()) {
      sum += parameter.master.lower.nbytes();
    } else if (parameter.compute.scalar_type() == at::kBFloat16) {
      sum += parameter.master.whole.nbytes();
    }
  }
  return static_cast<std::int64_t>(sum);
}

}  // namespace retort::train
