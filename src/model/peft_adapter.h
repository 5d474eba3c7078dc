// Adapters alone, as PEFT keeps them (https://huggingface.co/docs/peft, "Checkpoint format"): adapter_config.json and
// adapter_model.safetensors, whose matrices carry the names of the model's Hugging Face folder. Rows of queries and
// keys are half-split there as here: nothing is permuted.
//
// Any thread.
#pragma once

#include <filesystem>
#include <span>

#include "base/error.h"
#include "model/adapters.h"
#include "model/decoder.h"

namespace retort::model {

// `tensors`: FP32, contiguous, named as Decoder::named_adapters() does. The folder is made. Error (kWorld): the disk.
Result<void> write_peft_adapter(const std::filesystem::path& folder, const AdapterConfig& adapters,
                                std::span<const NamedTensor> tensors);

}  // namespace retort::model
