// The order of query and key rows within a head.
//
// GGUF files of the Llama family store them for interleaved rotation (pairs (0,1), (2,3), …), the decoder here rotates
// half-split (pairs (i, i + head_dim / 2), arXiv 2104.09864 as GPT-NeoX lays it out). Both functions are exact inverses
// of each other and only move rows. Only blk.N.attn_q.weight and blk.N.attn_k.weight are affected.
//
// Pure; any thread. values: heads * head_dim rows of `columns` floats.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace retort::model {

// As in the file -> as computed.
std::vector<float> interleaved_to_half_split(std::span<const float> values, std::int64_t heads, std::int64_t head_dim);
// As computed -> as in the file: for export.
std::vector<float> half_split_to_interleaved(std::span<const float> values, std::int64_t heads, std::int64_t head_dim);

// Does a tensor of this GGUF name need it? ("blk.7.attn_q.weight", "blk.7.attn_k.weight").
bool is_rotary_tensor(std::string_view name);
// heads for attn_q, kv_heads for attn_k.
std::int64_t rotary_heads(std::string_view name, std::int64_t heads, std::int64_t kv_heads);

}  // namespace retort::model
