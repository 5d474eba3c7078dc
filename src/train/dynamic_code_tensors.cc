#include "train/dynamic_code_tensors.h"

#include <ATen/ATen.h>

namespace retort::train {
namespace {

at::Tensor table(const float* values, std::int64_t count, at::Device device) {
  return at::tensor(at::ArrayRef<float>(values, static_cast<std::size_t>(count)), at::kFloat).to(device);
}

// [n] in whole blocks, the last filled with zeros.
at::Tensor in_blocks(const at::Tensor& values) {
  const std::int64_t rest = values.numel() % kCodeBlock;
  return (rest == 0 ? values : at::constant_pad_nd(values, {0, kCodeBlock - rest})).view({-1, kCodeBlock});
}

}  // namespace

DynamicCodeTensors::DynamicCodeTensors(const DynamicCode& code, at::Device device)
    : has_sign_(code.has_sign),
      least_(code.least),
      value_(table(code.value, 256, device)),
      border_(table(code.border, code.has_sign ? 127 : 255, device)) {}

at::Tensor DynamicCodeTensors::decode(const at::Tensor& codes, const at::Tensor& scales) const {
  const at::Tensor values = in_blocks(value_.index_select(0, codes.to(at::kInt)));
  return values.mul(scales.unsqueeze(1)).view({-1}).narrow(0, 0, codes.numel());
}

void DynamicCodeTensors::encode(const at::Tensor& values, at::Tensor codes, at::Tensor scales) const {
  const at::Tensor blocks = in_blocks(values);
  at::Tensor largest = blocks.abs().amax(1);
  at::Tensor inverse = largest.reciprocal();
  // The inverse of a scale so small that it overflows is of no use: such a block is zero.
  const at::Tensor usable = inverse < 3e38F;
  inverse.masked_fill_(usable.logical_not(), 0);
  const at::Tensor scaled = blocks.mul(inverse.unsqueeze(1)).clamp_(-1, 1);
  at::Tensor magnitude = at::bucketize(scaled.abs(), border_, /*out_int32=*/true, /*right=*/true);
  if (least_ > 0) magnitude = at::where(scaled != 0, magnitude.clamp_min(least_), magnitude);
  if (has_sign_) magnitude = at::where((scaled < 0).logical_and(magnitude != 0), magnitude + 128, magnitude);
  codes.copy_(magnitude.view({-1}).narrow(0, 0, values.numel()));
  scales.copy_(largest.masked_fill_(usable.logical_not(), 0));
}

}  // namespace retort::train
