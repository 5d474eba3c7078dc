#include "train/batch.h"

#include <torch/torch.h>

#include <algorithm>

#include "base/error.h"
#include "train/kernels.h"

namespace retort::train {

Batch make_batch(std::span<const dataset::PackedRow> rows) {
  std::int64_t used = 0;
  for (const dataset::PackedRow& row : rows) used += row.used;
  const std::int64_t total = (used + Batch::kLengthStep - 1) / Batch::kLengthStep * Batch::kLengthStep;
  const auto options = torch::TensorOptions(torch::kInt64);
  Batch batch;
  batch.tokens = {torch::empty({1, total}, options), torch::empty({1, total}, options),
                  torch::empty({1, total}, options)};
  auto* ids = batch.tokens.ids.data_ptr<std::int64_t>();
  auto* positions = batch.tokens.positions.data_ptr<std::int64_t>();
  auto* documents = batch.tokens.documents.data_ptr<std::int64_t>();
  std::vector<std::int64_t> supervised;
  std::int64_t place = 0;
  std::int64_t document = -1;
  for (const dataset::PackedRow& row : rows) {
    for (std::int32_t i = 0; i < row.used; ++i, ++place) {
      const auto at = static_cast<std::size_t>(i);
      // Numbered through all rows, so that the last document of a row and the first of the next stay apart.
      if (i == 0 || row.document[at] != row.document[at - 1]) ++document;
      ids[place] = row.ids[at];
      positions[place] = row.positions[at];
      documents[place] = document;
      if (row.labels[at] == dataset::kNoLabel) continue;
      supervised.push_back(place);
      batch.targets.push_back(row.labels[at]);
    }
  }
  std::fill(ids + used, ids + total, 0);
  std::fill(positions + used, positions + total, 0);
  std::fill(documents + used, documents + total, -1);
  batch.supervised = torch::tensor(supervised, options);
  return batch;
}

at::Tensor at_supervised(const at::Tensor& rows, const Batch& batch) {
  return rows.index_select(0, batch.supervised.to(rows.device()));
}

void add_embedding_gradient(const at::Tensor& ids, const at::Tensor& gradient, at::Tensor& sum) {
  const std::int64_t width = sum.size(1);
  if (!sum.is_cpu()) {
    sum.index_add_(0, ids.to(sum.device()), gradient.to(at::kFloat));
    return;
  }
  const at::Tensor rows = gradient.contiguous();
  RETORT_CHECK(rows.numel() == ids.numel() * width && sum.scalar_type() == at::kFloat && sum.is_contiguous());
  const auto* id = ids.const_data_ptr<std::int64_t>();
  auto* target = sum.mutable_data_ptr<float>();
  const auto columns = static_cast<std::size_t>(width);
  // One after the other: an id may occur twice, and the order of the sum is then always the same.
  for (std::int64_t i = 0; i < ids.numel(); ++i) {
    float* to = target + id[i] * width;
    if (rows.scalar_type() == at::kBFloat16) {
      kernels().add_bf16(to, static_cast<const Bf16*>(rows.const_data_ptr()) + i * width, columns);
    } else {
      const float* from = rows.const_data_ptr<float>() + i * width;
      for (std::size_t column = 0; column < columns; ++column) to[column] += from[column];
    }
  }
}

}  // namespace retort::train
