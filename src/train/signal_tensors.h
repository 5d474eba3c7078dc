// What is kept of the teacher at some places, made where its logits are: only what is kept leaves the device.
//
// The same tokens and weights as dataset::draw_slots() and top_slots() give from the same numbers, to rounding of their
// sums (tested on the processor). One thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "dataset/teacher_signal.h"

namespace retort::train {

// probabilities [n, vocabulary] FP32; log_z and entropy [n] FP32: of rows `first` and on of the file. All finite.
std::vector<dataset::SignalRow> signal_rows_by_tensors(const at::Tensor& probabilities, const at::Tensor& log_z,
                                                       const at::Tensor& entropy, std::int64_t first,
                                                       const dataset::SignalHeader& header);

}  // namespace retort::train
