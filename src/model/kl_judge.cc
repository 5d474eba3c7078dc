#include "model/kl_judge.h"

#include <torch/torch.h>

#include <algorithm>
#include <vector>

namespace retort::model {

KlJudge::KlJudge(const Decoder& teacher, const PackedText& text, std::int64_t most_rows) : teacher_(teacher) {
  const torch::NoGradGuard no_gradient;
  const auto judged = static_cast<std::int64_t>(text.judged.size());
  const std::int64_t count = std::min(judged, most_rows);
  std::vector<std::int64_t> rows;
  for (std::int64_t i = 0; i < count; ++i) rows.push_back(text.judged[static_cast<std::size_t>(i * judged / count)]);
  rows_ = torch::tensor(rows, torch::kInt64).to(teacher.device());
  const auto log_probabilities =
      teacher.logits(teacher.forward(text.batch).squeeze(0).index_select(0, rows_)).log_softmax(1);
  probabilities_ = log_probabilities.exp();
  negative_entropy_ = (probabilities_ * log_probabilities).sum(1);
}

double KlJudge::of_state(const torch::Tensor& state) const {
  const torch::NoGradGuard no_gradient;
  return of_logits(teacher_.logits(teacher_.apply_final_norm(state.index_select(0, rows_))));
}

double KlJudge::of(const Decoder& other, const PackedText& text) const {
  const torch::NoGradGuard no_gradient;
  const torch::Tensor hidden = other.forward(text.batch).squeeze(0).index_select(0, rows_.to(other.device()));
  return of_logits(other.logits(hidden).to(teacher_.device()));
}

// sum p log p - sum p (z - log sum exp z), so that no second table of distributions is built.
double KlJudge::of_logits(const torch::Tensor& logits) const {
  const auto rows = negative_entropy_ + logits.logsumexp(1) - torch::einsum("rv,rv->r", {probabilities_, logits});
  return rows.mean(0, false, torch::kFloat64).item<double>();
}

}  // namespace retort::model
