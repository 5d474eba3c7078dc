// AdamW over a list of named parameters, with FP32 masters.
//
// Each parameter has an FP32 master, two FP32 moments and an FP32 gradient that is summed over micro-batches; one pass
// over the memory reads the gradient, updates moments and master, and writes the compute copy (BF16, or the master
// itself where compute is FP32). A tied head is one parameter: one gradient, one state.
//
// Global-norm clipping as in Pascanu, Mikolov and Bengio (arXiv 1211.5063); decoupled decay as in Loshchilov and Hutter
// (arXiv 1711.05101), not on vectors (norms). Sums are taken in fixed blocks, so that the number of threads does not
// show in the result. One thread at a time; uses libtorch's threads inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace retort::train {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0;
  double clip_norm = 0;  // 0: none
};

struct AdamWParameter {
  std::string name;
  at::Tensor compute;  // what the model computes with; BFloat16 or Float, contiguous
  bool decays = true;
  double rate = 1;      // its learning rate as a share of the common one
  at::Tensor master;    // FP32; the same storage as `compute` when that is Float
  at::Tensor m;         // FP32; with v and gradient undefined when frozen
  at::Tensor v;         // FP32
  at::Tensor gradient;  // FP32
  bool frozen() const { return rate == 0; }
};

class AdamW {
 public:
  explicit AdamW(AdamWOptions options) : options_(options) {}

  // `compute` is updated in place by step(). The master starts as its FP32 value; or `master` (FP32, contiguous) is
  // taken over, which is more exact than BF16 and costs no memory. A rate of 0 leaves it as it is, without state.
  // Returns the index.
  std::size_t add(std::string name, at::Tensor compute, const at::Tensor& master = {}, double rate = 1);

  void zero_gradients();
  // Adds a gradient of the compute type or FP32 to parameter `index`'s.
  void accumulate(std::size_t index, const at::Tensor& gradient);
  // The L2 norm of all gradients together.
  double gradient_norm() const;
  // One update; returns the gradient norm before clipping. Does nothing when the norm is not finite.
  double step(double learning_rate);

  std::int64_t steps_done() const { return steps_done_; }
  void set_steps_done(std::int64_t steps) { steps_done_ = steps; }
  std::vector<AdamWParameter>& parameters() { return parameters_; }
  const std::vector<AdamWParameter>& parameters() const { return parameters_; }
  // After the masters were replaced (a checkpoint was read): writes the compute copies anew.
  void refresh_compute();
  std::int64_t bytes() const;  // of masters, moments and gradients

 private:
  AdamWOptions options_;
  std::vector<AdamWParameter> parameters_;
  std::int64_t steps_done_ = 0;
};

}  // namespace retort::train
