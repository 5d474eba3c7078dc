#include "model/torch_scorer.h"

#include <torch/torch.h>

#include <algorithm>
#include <string>

namespace retort::model {

std::size_t TorchScorer::vocabulary() const { return static_cast<std::size_t>(decoder_.config().vocabulary); }
std::size_t TorchScorer::context_tokens() const { return static_cast<std::size_t>(decoder_.config().context); }

Result<void> TorchScorer::score(std::span<const TokenId> ids, std::size_t first_row,
                                const std::function<Result<void>(const LogitRows&)>& visit) {
  if (ids.size() > context_tokens()) {
    return caller_error("The text has " + std::to_string(ids.size()) + " tokens, the model's context holds " +
                        std::to_string(context_tokens()) + ". Shorten it.");
  }
  for (const TokenId id : ids) {
    if (id < 0 || id >= decoder_.config().vocabulary) {
      return caller_error("Token " + std::to_string(id) + " is outside the model's vocabulary of " +
                          std::to_string(vocabulary()) + ".");
    }
  }
  if (first_row >= ids.size()) return {};
  const torch::NoGradGuard no_gradient;
  const torch::Tensor hidden = decoder_.forward(single_document(ids)).squeeze(0);
  const auto rows = static_cast<std::int64_t>(ids.size());
  for (auto row = static_cast<std::int64_t>(first_row); row < rows; row += chunk_rows_) {
    const std::int64_t count = std::min(chunk_rows_, rows - row);
    const torch::Tensor logits = decoder_.logits(hidden.narrow(0, row, count)).cpu().contiguous();
    LogitRows visited;
    visited.first_position = static_cast<std::size_t>(row);
    visited.rows = static_cast<std::size_t>(count);
    visited.vocabulary = vocabulary();
    visited.data = logits.const_data_ptr<float>();
    RETORT_TRY(visit(visited));
  }
  return {};
}

}  // namespace retort::model
