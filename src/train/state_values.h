// Numbers of the optimiser's state: a tensor, or FP32 weights in two halves.
//
// Where a student is computed in BF16, its FP32 master and that BF16 copy say much the same twice. In halves only what
// the copy lacks is kept beside it, in 16 bits: 4 bytes a weight instead of 6, and no bit is lost (the idea: Kalamkar
// et al., arXiv 2005.04680, section III.C, whose copy is cut off; ours is rounded to nearest, ties away from zero).
// The bits of an IEEE float are upper * 2^16 + lower, with lower from -2^15 to 2^15 - 1 and `upper` the copy's bits.
//
// Handles, as tensors are: copies share the memory. One thread at a time; uses libtorch's threads inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace retort::train {

struct StateValues {
  at::Tensor whole;         // FP32 or codes (uint8); undefined with halves
  at::Tensor upper, lower;  // BF16 and int16, contiguous, of one shape, in the processor's memory

  bool in_halves() const { return lower.defined(); }
  bool defined() const { return whole.defined() || lower.defined(); }
  std::int64_t numel() const { return in_halves() ? lower.numel() : whole.numel(); }
  at::IntArrayRef sizes() const { return in_halves() ? lower.sizes() : whole.sizes(); }
  at::ScalarType type() const { return in_halves() ? at::kFloat : whole.scalar_type(); }
  at::TensorOptions options() const { return (in_halves() ? lower.options() : whole.options()).dtype(type()); }
  // `whole` itself, or a new tensor.
  at::Tensor read() const;
  // As many values of the same type, contiguous where these are halves. Writes `upper` too.
  void write(const at::Tensor& values) const;
  // Values [first, first + count), flat.
  StateValues part(std::int64_t first, std::int64_t count) const;
};

// Values of the optimiser's state as checkpoints name them.
struct StateTensor {
  std::string name;
  StateValues part;                 // of the state
  std::vector<std::int64_t> shape;  // of the whole
  std::int64_t first = 0;           // where the part begins in it
};

// FP32 master of `compute` (BF16), in halves. With `master` (FP32, contiguous, of its size) compute becomes what that
// rounds to.
StateValues in_halves(const at::Tensor& compute, const at::Tensor& master);

}  // namespace retort::train
