// DynamicCode by libtorch's operations, where this program's own kernels don't run: on a GPU.
//
// The same codes and scales as kernels().adamw_8_bit writes from the same values (tested on the processor). Owns its
// tables, on the device. One thread.
#pragma once

#include <ATen/core/Tensor.h>

#include "train/dynamic_code.h"

namespace retort::train {

class DynamicCodeTensors {
 public:
  DynamicCodeTensors(const DynamicCode& code, at::Device device);

  // codes [n] uint8, scales [n / kCodeBlock, rounded up] FP32 -> [n] FP32.
  at::Tensor decode(const at::Tensor& codes, const at::Tensor& scales) const;
  // values [n] FP32 -> codes and scales, of those shapes, written over.
  void encode(const at::Tensor& values, at::Tensor codes, at::Tensor scales) const;

 private:
  bool has_sign_;
  int least_;
  at::Tensor value_;   // [256]
  at::Tensor border_;  // between the codes of magnitudes, ascending
};

}  // namespace retort::train
