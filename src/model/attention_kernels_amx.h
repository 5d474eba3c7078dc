// The attention kernels of BF16 rows by AMX's tile products: what the FP32 kernels compute, an order of magnitude
// quicker in the products.
//
// Queries, keys, values and what comes in are BF16 and multiplied as they are; probabilities and score gradients, which
// are not, are multiplied in two halves, the BF16 number and what it lacks, so that 16 bits of them count. Sums are
// FP32. To be called where runs_amx_bf16() says so; else as model/attention_kernels.h.
#pragma once

#include "model/attention_kernels.h"

namespace retort::model::attention_amx {

void forward(const AttentionUnit& unit, const AttentionForward<Bf16>& rows, float* scratch);
void backward(const AttentionUnit& unit, const AttentionBackward<Bf16>& rows, float* scratch);

}  // namespace retort::model::attention_amx
