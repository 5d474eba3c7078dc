#include "model/tensor_draw.h"

#include <torch/torch.h>

#include <algorithm>
#include <limits>

namespace retort::model {

namespace {

constexpr double kGreedy = 1e-6;  // as in Sampler::sample(): below it a single token has all the weight

}  // namespace

bool is_uncut(const SamplingOptions& sampling, std::int64_t vocabulary) {
  return sampling.temperature < kGreedy ||
         ((sampling.top_k <= 0 || sampling.top_k >= vocabulary) && sampling.top_p >= 1 && sampling.min_p == 0);
}

std::vector<TokenId> draw_by_tensors(const torch::Tensor& logits, std::span<const Draw> draws) {
  const torch::NoGradGuard no_gradient;
  const auto rows = static_cast<std::int64_t>(draws.size());
  torch::Tensor scales = torch::empty({rows, 1}, torch::kFloat32), shares = torch::zeros({rows, 1}, torch::kFloat64);
  for (std::int64_t row = 0; row < rows; ++row) {
    const Draw& draw = draws[static_cast<std::size_t>(row)];
    const bool greedy = draw.temperature < kGreedy;
    // Greedy: whatever is below the largest logit has no weight.
    scales.data_ptr<float>()[row] =
        greedy ? std::numeric_limits<float>::max() : static_cast<float>(1.0 / draw.temperature);
    if (!greedy) shares.data_ptr<double>()[row] = draw.random->uniform();
  }
  const torch::Tensor wide = logits.to(torch::kFloat32);
  const torch::Tensor top = wide.amax(1, true);
  const torch::Tensor below = wide - top;
  // 0 times an infinite scale would be no number.
  const torch::Tensor weights =
      torch::where(below == 0, torch::ones_like(below), torch::exp(below * scales.to(logits.device())));
  const torch::Tensor sums = weights.to(torch::kFloat64).cumsum(1);
  const torch::Tensor marks = shares.to(logits.device()) * sums.narrow(1, sums.size(1) - 1, 1);
  torch::Tensor ids = torch::searchsorted(sums, marks, false, true).clamp_max(sums.size(1) - 1).squeeze(1);
  ids = torch::where(top.squeeze(1).isfinite(), ids, torch::full_like(ids, -1)).to(torch::kInt32).cpu();
  const auto* id = ids.const_data_ptr<std::int32_t>();
  return {id, id + rows};
}

}  // namespace retort::model
