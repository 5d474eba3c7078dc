// Models and text that stand in where only speed and memory matter: right in shape, random in content.
//
// Weights come from libtorch's own random numbers, which nothing that is trained draws from. One thread; uses
// libtorch's threads inside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "dataset/example.h"
#include "model/backend.h"
#include "model/compute_type.h"
#include "model/decoder.h"
#include "model/decoder_config.h"

namespace retort::train {

// The same shapes with the first `layers` layers of that many.
model::DecoderConfig with_layers(model::DecoderConfig config, std::int64_t layers);

Result<model::Decoder> random_decoder(const model::DecoderConfig& config, model::ComputeType compute,
                                      model::Backend backend);

// At least so many tokens below `vocabulary`, in documents of `shortest` to `longest`; all but a document's first are
// supervised.
std::vector<dataset::Example> random_examples(std::int64_t tokens, std::int64_t vocabulary, std::size_t shortest,
                                              std::size_t longest);

}  // namespace retort::train
