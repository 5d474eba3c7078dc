#include "train/state_values.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "base/error.h"
#include "model/parallel.h"
#include "train/bf16_values.h"

namespace retort::train {
namespace {

constexpr std::int64_t kBlock = 1 << 16;

}  // namespace

at::Tensor StateValues::read() const {
  if (!in_halves()) return whole;
  at::Tensor values = at::empty(lower.sizes(), lower.options().dtype(at::kFloat));
  float* target = values.mutable_data_ptr<float>();
  model::parallel_for(0, numel(), kBlock, [&](std::int64_t first, std::int64_t last) {
    kernels().join(bf16_data(upper) + first, lower.const_data_ptr<std::int16_t>() + first, target + first,
                   static_cast<std::size_t>(last - first));
  });
  return values;
}

void StateValues::write(const at::Tensor& values) const {
  RETORT_CHECK(values.numel() == numel() && values.scalar_type() == type());
  if (!in_halves()) {
    const at::NoGradGuard no_gradient;
    whole.view({-1}).copy_(values.flatten());
    return;
  }
  RETORT_CHECK(values.is_contiguous() && values.is_cpu());
  const float* source = values.const_data_ptr<float>();
  auto* low = lower.mutable_data_ptr<std::int16_t>();
  model::parallel_for(0, numel(), kBlock, [&](std::int64_t first, std::int64_t last) {
    kernels().split(source + first, bf16_data(upper) + first, low + first, static_cast<std::size_t>(last - first));
  });
}

StateValues StateValues::part(std::int64_t first, std::int64_t count) const {
  const auto narrowed = [&](const at::Tensor& of) {
    return of.defined() ? of.view({-1}).narrow(0, first, count) : at::Tensor();
  };
  return {narrowed(whole), narrowed(upper), narrowed(lower)};
}

StateValues in_halves(const at::Tensor& compute, const at::Tensor& master) {
  RETORT_CHECK(compute.scalar_type() == at::kBFloat16 && compute.is_contiguous() && compute.is_cpu());
  StateValues halves{{}, compute, at::zeros(compute.sizes(), compute.options().dtype(at::kShort))};
  if (master.defined()) halves.write(master);
  return halves;
}

}  // namespace retort::train
