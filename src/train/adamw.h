// AdamW over a list of named parameters, with FP32 masters and a state of 32 or 8 bits.
//
// Each parameter has an FP32 master, two moments and a gradient; one pass over the memory reads the gradient and
// updates moments, master and compute copy (BF16, on the processor half of the master: train/state_values.h; or the
// master itself where compute is FP32). A gradient that one micro-batch alone gave stays as autograd made it, on the
// processor in BF16; several are summed in FP32. A tied head is one parameter: one gradient, one state.
//
// Global-norm clipping as in Pascanu, Mikolov and Bengio (arXiv 1211.5063); decoupled decay as in Loshchilov and Hutter
// (arXiv 1711.05101), not on vectors (norms). Sums are taken in fixed blocks, so that the number of threads does not
// show in the result. With 8 bits a moment is kept as codes with one scale a block (train/dynamic_code.h); vectors keep
// 32. Where several ranks train together each keeps the state of a part of every parameter (train/sharding.h).
// One thread at a time; uses libtorch's threads inside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/backend.h"
#include "train/dynamic_code_tensors.h"
#include "train/kernels.h"
#include "train/state_values.h"

namespace retort::train {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0;
  double clip_norm = 0;  // 0: none
  int bits = 32;         // of each moment: 32 or 8
  model::Backend backend = model::Backend::kKernels;
};

// A moment: FP32 values, or codes (uint8) with the scale (FP32) of each block of them.
struct Moment {
  at::Tensor values;
  at::Tensor scales;  // undefined with FP32 values
};

struct AdamWParameter {
  std::string name;
  at::Tensor compute;  // what the model computes with; BFloat16 or Float, contiguous
  bool decays = true;
  double rate = 1;  // its learning rate as a share of the common one
  // What is updated here: values [first, first + count) of it. All of them, unless keep_part() said otherwise.
  std::int64_t first = 0;
  std::int64_t count = 0;
  StateValues master;   // FP32, of the part; the same storage as `compute` when that is Float
  Moment m, v;          // of the part; undefined when frozen, and until they are needed
  at::Tensor gradient;  // of the whole, FP32 or BF16; undefined when frozen, and until something is added
  at::Tensor sum;       // FP32, contiguous: the memory for a gradient that is a sum; undefined until needed
  bool frozen() const { return rate == 0; }
};

class AdamW {
 public:
  explicit AdamW(AdamWOptions options) : options_(options) {}

  // `compute` is updated in place by step(). The master starts as its FP32 value; or as `master` (FP32, contiguous),
  // which is more exact than BF16 and given up as soon as it isn't needed. A rate of 0 leaves it as it is, without
  // state. Returns the index.
  std::size_t add(std::string name, at::Tensor compute, at::Tensor master = {}, double rate = 1);
  // From here on only these values of a parameter are updated; `first` is a multiple of kPartAlignment. Before the
  // first step.
  void keep_part(std::size_t index, std::int64_t first, std::int64_t count);
  static constexpr std::int64_t kPartAlignment = 256;

  // Their memory is written when something is added to them, or by settle_gradients().
  void zero_gradients();
  // Adds a gradient of the compute type or FP32 to parameter `index`'s. The first one may be kept as it is: nobody may
  // write to it any more.
  void accumulate(std::size_t index, const at::Tensor& gradient);
  // The gradient of parameter `index` in FP32, to be added to in place; undefined when frozen.
  at::Tensor gradient_sum(std::size_t index);
  // The same, but where nothing was added yet its values are anything, to be written.
  struct UnwrittenSum {
    at::Tensor values;
    bool is_unwritten = false;
  };
  UnwrittenSum gradient_sum_to_write(std::size_t index);
  // Before gradients are read as FP32: those of [first, last), or all, become sums, and zeros where nothing was added.
  void settle_gradients(std::size_t first, std::size_t last);
  void settle_gradients() { settle_gradients(0, parameters_.size()); }
  // Those of [first, last) that nothing was added to become zeros; the others stay of the type they are.
  void zero_unwritten(std::size_t first, std::size_t last);
  // Gives up what gradients there are and their memory, where it is the optimiser's own.
  void forget_gradients();
  // Of the gradients of all parts.
  double sum_of_squares();
  // One update, with the L2 norm of all gradients together. Does nothing when that is not finite.
  void step(double learning_rate, double gradient_norm);
  // The same, a range of parameters at a time: nothing where the norm isn't finite, else what update_range() takes for
  // each of them, once.
  struct Update {
    double learning_rate = 0;
    AdamStep step;
  };
  std::optional<Update> begin_step(double learning_rate, double gradient_norm);
  void update_range(const Update& update, std::size_t first, std::size_t last);
  // The same, where all parts are here; returns the norm before clipping.
  double step(double learning_rate);

  std::int64_t steps_done() const { return steps_done_; }
  void set_steps_done(std::int64_t steps) { steps_done_ = steps; }
  std::vector<AdamWParameter>& parameters() { return parameters_; }
  const std::vector<AdamWParameter>& parameters() const { return parameters_; }
  // Masters and moments of the parameters that aren't frozen.
  std::vector<StateTensor> states();
  // After masters were written (a checkpoint was read): writes the compute copies of the parts anew.
  void refresh_compute();
  // After the last step: gradients and moments are no more, masters stay.
  void forget_state();
  std::int64_t bytes() const;  // of masters, moments and gradients

 private:
  bool in_8_bits(const AdamWParameter& parameter) const { return options_.bits == 8 && parameter.compute.dim() > 1; }
  void need_moments();
  // Makes the gradient a sum, and returns it; its values are anything.
  const at::Tensor& begin_sum(AdamWParameter& parameter) const;
  void update_by_tensors(const Update& update, std::size_t first, std::size_t last);
  void step_8_bits_by_tensors(AdamWParameter& parameter, double learning_rate, const at::Tensor& steps_done,
                              const std::optional<at::Tensor>& divisor);
  bool by_tensors() const { return options_.backend != model::Backend::kKernels; }

  AdamWOptions options_;
  std::vector<AdamWParameter> parameters_;
  std::optional<DynamicCodeTensors> m_code_, v_code_;  // once they are needed
  std::int64_t steps_done_ = 0;
};

}  // namespace retort::train
