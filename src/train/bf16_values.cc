#include "train/bf16_values.h"

#include <ATen/core/grad_mode.h>

#include "base/error.h"
#include "model/parallel.h"

namespace retort::train {
namespace {

constexpr std::int64_t kBlock = 1 << 16;

bool is_bf16(const at::Tensor& tensor) { return tensor.scalar_type() == at::kBFloat16; }

}  // namespace

void copy_values(const at::Tensor& from, const at::Tensor& to) {
  RETORT_CHECK(from.numel() == to.numel());
  if (is_bf16(from) == is_bf16(to)) {
    const at::NoGradGuard no_gradient;
    to.view({-1}).copy_(from.view({-1}));
    return;
  }
  model::parallel_for(0, to.numel(), kBlock, [&](std::int64_t first, std::int64_t last) {
    const auto count = static_cast<std::size_t>(last - first);
    if (is_bf16(from)) {
      kernels().from_bf16(bf16_data(from) + first, to.mutable_data_ptr<float>() + first, count);
    } else {
      kernels().to_bf16(from.const_data_ptr<float>() + first, bf16_data(to) + first, count);
    }
  });
}

void add_values(const at::Tensor& values, const at::Tensor& sum) {
  RETORT_CHECK(values.numel() == sum.numel());
  if (!is_bf16(values)) {
    const at::NoGradGuard no_gradient;
    sum.view({-1}).add_(values.view({-1}));
    return;
  }
  model::parallel_for(0, sum.numel(), kBlock, [&](std::int64_t first, std::int64_t last) {
    kernels().add_bf16(sum.mutable_data_ptr<float>() + first, bf16_data(values) + first,
                       static_cast<std::size_t>(last - first));
  });
}

}  // namespace retort::train
