#include "model/rotary_layout.h"

#include <algorithm>

#include "base/error.h"

namespace retort::model {

namespace {

// Row r of a head in half-split order is row interleaved_row(r) of the file.
std::int64_t interleaved_row(std::int64_t row, std::int64_t head_dim) {
  const std::int64_t half = head_dim / 2;
  return row < half ? 2 * row : 2 * (row - half) + 1;
}

template <bool to_half_split>
std::vector<float> move_rows(std::span<const float> values, std::int64_t heads, std::int64_t head_dim) {
  RETORT_CHECK(heads > 0 && head_dim > 0 && head_dim % 2 == 0);
  const std::int64_t rows = heads * head_dim;
  RETORT_CHECK(static_cast<std::int64_t>(values.size()) % rows == 0);
  const std::int64_t columns = static_cast<std::int64_t>(values.size()) / rows;
  std::vector<float> moved(values.size());
  for (std::int64_t head = 0; head < heads; ++head) {
    for (std::int64_t row = 0; row < head_dim; ++row) {
      const std::int64_t half_split = (head * head_dim + row) * columns;
      const std::int64_t interleaved = (head * head_dim + interleaved_row(row, head_dim)) * columns;
      const float* from = values.data() + (to_half_split ? interleaved : half_split);
      std::copy_n(from, columns, moved.data() + (to_half_split ? half_split : interleaved));
    }
  }
  return moved;
}

}  // namespace

std::vector<float> interleaved_to_half_split(std::span<const float> values, std::int64_t heads, std::int64_t head_dim) {
  return move_rows<true>(values, heads, head_dim);
}

std::vector<float> half_split_to_interleaved(std::span<const float> values, std::int64_t heads, std::int64_t head_dim) {
  return move_rows<false>(values, heads, head_dim);
}

std::int64_t interleaved_heads(const DecoderConfig& config, std::string_view name) {
  if (config.architecture != "llama" || !name.starts_with("blk.")) return 0;
  if (name.ends_with(".attn_q.weight") || name.ends_with(".attn_q.bias")) return config.heads;
  if (name.ends_with(".attn_k.weight") || name.ends_with(".attn_k.bias")) return config.kv_heads;
  return 0;
}

}  // namespace retort::model
