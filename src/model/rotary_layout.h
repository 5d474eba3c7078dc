// The order of query and key rows within a head.
//
// GGUF files of the Llama family store them for interleaved rotation (pairs (0,1), (2,3), …), the decoder here rotates
// half-split (pairs (i, i + head_dim / 2), arXiv 2104.09864 as GPT-NeoX lays it out). Both functions are exact inverses
// of each other and only move rows. Only queries and keys are affected, weights and biases; files of the Qwen families
// have them half-split already.
//
// Pure; any thread. values: heads * head_dim rows of `columns` floats.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "model/decoder_config.h"

namespace retort::model {

// As in the file -> as computed.
std::vector<float> interleaved_to_half_split(std::span<const float> values, std::int64_t heads, std::int64_t head_dim);
// As computed -> as in the file: for export.
std::vector<float> half_split_to_interleaved(std::span<const float> values, std::int64_t heads, std::int64_t head_dim);

// How many heads the tensor of this GGUF name holds that a file of the model's architecture has interleaved; 0: none,
// it lies in the file as it is computed.
std::int64_t interleaved_heads(const DecoderConfig& config, std::string_view name);

}  // namespace retort::model
