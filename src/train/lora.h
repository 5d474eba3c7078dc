// Training of low-rank adapters instead of the weights (model/adapters.h): what the recipe's keys mean, and how
// adapters become a student again.
//
// One thread.
#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "base/error.h"
#include "model/adapters.h"
#include "model/decoder.h"
#include "train/train_options.h"

namespace retort::train {

inline bool trains_adapters(const TrainOptions& options) { return options.lora_rank > 0; }

// Of options that train adapters.
model::AdapterConfig adapter_config(const TrainOptions& options);

// Adds scale B A to each adapted one of `weights` (FP32), in place. `adapters`: FP32, named as
// Decoder::named_adapters() does.
void merge_adapters(std::span<const model::NamedTensor> weights, std::span<const model::NamedTensor> adapters,
                    double scale);

// Whether `weights` (FP32) are what `student` computes with, to the bit of its type.
bool are_weights_of(const model::Decoder& student, std::span<const model::NamedTensor> weights);

}  // namespace retort::train
