// Packed rows as the decoder takes them: one long row, every document a segment of its own.
//
// The padding of the rows is left out, so no work is done for it, but for what fills the long row up to a multiple of
// kLengthStep. A value; any thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "dataset/pack.h"
#include "model/decoder.h"

namespace retort::train {

struct Batch {
  // Lengths are of few kinds, so that memory freed by one step fits the next, and fewer products are prepared anew.
  static constexpr std::int64_t kLengthStep = 16;

  model::TokenBatch tokens;      // [1, used tokens of all rows, rounded up]
  at::Tensor supervised;         // int64, on the CPU: places (in that row) that have a label, ascending
  std::vector<TokenId> targets;  // the label of each
  std::int64_t size() const { return tokens.ids.size(1); }
};

// Those rows of [batch size, width], on whatever device, that have a label.
at::Tensor at_supervised(const at::Tensor& rows, const Batch& batch);

Batch make_batch(std::span<const dataset::PackedRow> rows);

// Adds each row of `gradient` [n, width] (BF16 or FP32) to the row of `sum` [vocabulary, width] (FP32) that its id
// names: the gradient of an embedding look-up.
void add_embedding_gradient(const at::Tensor& ids, const at::Tensor& gradient, at::Tensor& sum);

}  // namespace retort::train
