#include "train/adamw.h"

#include <ATen/Parallel.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "train/kernels.h"

namespace retort::train {
namespace {

constexpr std::int64_t kBlock = 1 << 16;

Bf16* bf16_data(const at::Tensor& tensor) { return static_cast<Bf16*>(tensor.data_ptr()); }

}  // namespace

std::size_t AdamW::add(std::string name, at::Tensor compute, const at::Tensor& master, double rate) {
  const at::NoGradGuard no_gradient;
  RETORT_CHECK(compute.is_contiguous());
  RETORT_CHECK(compute.scalar_type() == at::kFloat || compute.scalar_type() == at::kBFloat16);
  AdamWParameter parameter;
  parameter.name = std::move(name);
  parameter.compute = compute.detach();  // shares the storage
  parameter.decays = compute.dim() > 1;
  parameter.rate = rate;
  if (parameter.compute.scalar_type() == at::kFloat) {
    if (master.defined()) parameter.compute.copy_(master);
    parameter.master = parameter.compute;
  } else {
    parameter.master =
        (master.defined() ? master : parameter.compute).detach().to(at::kFloat, false, true).contiguous();
  }
  if (!parameter.frozen()) {
    parameter.m = at::zeros_like(parameter.master);
    parameter.v = at::zeros_like(parameter.master);
    parameter.gradient = at::zeros_like(parameter.master);
  }
  parameters_.push_back(std::move(parameter));
  return parameters_.size() - 1;
}

void AdamW::zero_gradients() {
  for (AdamWParameter& parameter : parameters_) {
    if (!parameter.frozen()) parameter.gradient.zero_();
  }
}

void AdamW::accumulate(std::size_t index, const at::Tensor& gradient) {
  const at::NoGradGuard no_gradient;
  at::Tensor& sum = parameters_[index].gradient;
  RETORT_CHECK(!parameters_[index].frozen());
  RETORT_CHECK(sum.numel() == gradient.numel());
  const at::Tensor values = gradient.contiguous();
  if (values.scalar_type() != at::kBFloat16) {
    sum.add_(values);
    return;
  }
  float* target = sum.mutable_data_ptr<float>();
  const Bf16* source = bf16_data(values);
  at::parallel_for(0, sum.numel(), kBlock, [&](std::int64_t first, std::int64_t last) {
    kernels().add_bf16(target + first, source + first, static_cast<std::size_t>(last - first));
  });
}

double AdamW::gradient_norm() const {
  double sum = 0;
  for (const AdamWParameter& parameter : parameters_) {
    if (parameter.frozen()) continue;
    const std::int64_t n = parameter.gradient.numel();
    const std::int64_t blocks = (n + kBlock - 1) / kBlock;
    std::vector<double> partial(static_cast<std::size_t>(blocks));
    const float* values = parameter.gradient.const_data_ptr<float>();
    at::parallel_for(0, blocks, 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t block = first; block < last; ++block) {
        const std::int64_t begin = block * kBlock;
        partial[static_cast<std::size_t>(block)] =
            kernels().sum_of_squares(values + begin, static_cast<std::size_t>(std::min(kBlock, n - begin)));
      }
    });
    for (const double value : partial) sum += value;
  }
  return std::sqrt(sum);
}

double AdamW::step(double learning_rate) {
  const double norm = gradient_norm();
  if (!std::isfinite(norm)) return norm;
  ++steps_done_;
  AdamStep step;
  step.learning_rate = static_cast<float>(learning_rate);
  step.beta1 = static_cast<float>(options_.beta1);
  step.beta2 = static_cast<float>(options_.beta2);
  step.epsilon = static_cast<float>(options_.epsilon);
  step.correction1 = static_cast<float>(1.0 - std::pow(options_.beta1, static_cast<double>(steps_done_)));
  step.correction2 = static_cast<float>(1.0 - std::pow(options_.beta2, static_cast<double>(steps_done_)));
  step.gradient_scale =
      options_.clip_norm > 0 && norm > options_.clip_norm ? static_cast<float>(options_.clip_norm / norm) : 1.0F;
  for (AdamWParameter& parameter : parameters_) {
    if (parameter.frozen()) continue;
    AdamStep own = step;
    own.learning_rate = static_cast<float>(learning_rate * parameter.rate);
    own.weight_decay = parameter.decays ? static_cast<float>(options_.weight_decay) : 0.0F;
    float* master = parameter.master.mutable_data_ptr<float>();
    float* m = parameter.m.mutable_data_ptr<float>();
    float* v = parameter.v.mutable_data_ptr<float>();
    const float* gradient = parameter.gradient.const_data_ptr<float>();
    Bf16* copy = parameter.compute.scalar_type() == at::kBFloat16 ? bf16_data(parameter.compute) : nullptr;
    at::parallel_for(0, parameter.master.numel(), kBlock, [&](std::int64_t first, std::int64_t last) {
      kernels().adamw(master + first, m + first, v + first, gradient + first, copy == nullptr ? nullptr : copy + first,
                      static_cast<std::size_t>(last - first), own);
    });
  }
  return norm;
}

void AdamW::refresh_compute() {
  const at::NoGradGuard no_gradient;
  for (AdamWParameter& parameter : parameters_) {
    if (parameter.compute.scalar_type() == at::kBFloat16) parameter.compute.copy_(parameter.master);
  }
}

std::int64_t AdamW::bytes() const {
  std::int64_t sum = 0;
  for (const AdamWParameter& parameter : parameters_) {
    if (!parameter.frozen()) sum += static_cast<std::int64_t>(parameter.m.nbytes() * 3);
    if (parameter.compute.scalar_type() == at::kBFloat16) sum += static_cast<std::int64_t>(parameter.master.nbytes());
  }
  return sum;
}

}  // namespace retort::train
