#include "train/sharding.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <utility>

namespace retort::train {
namespace {

// The values [begin, end) of a range that lie within another.
std::pair<std::int64_t, std::int64_t> common(std::int64_t begin, std::int64_t end, std::int64_t from, std::int64_t to) {
  const std::int64_t first = std::max(begin, from);
  return {first, std::max(first, std::min(end, to))};
}

}  // namespace

Sharding::Sharding(AdamW& optimiser, Ranks& ranks) : optimiser_(optimiser), ranks_(ranks) {
  if (ranks.world() == 1) return;
  offsets_.push_back(0);
  for (const AdamWParameter& parameter : optimiser.parameters()) {
    offsets_.push_back(offsets_.back() + (parameter.frozen() ? 0 : parameter.compute.numel()));
  }
  for (std::int64_t rank = 0; rank <= ranks.world(); ++rank) {
    std::int64_t border = offsets_.back() * rank / ranks.world();
    const auto after = std::upper_bound(offsets_.begin(), offsets_.end() - 1, border);
    const std::int64_t start = *(after - 1);  // of the parameter it falls into
    if (rank < ranks.world()) border = start + (border - start) / AdamW::kPartAlignment * AdamW::kPartAlignment;
    borders_.push_back(border);
  }
  const at::NoGradGuard no_gradient;
  gradients_ = at::zeros({offsets_.back()}, optimiser.parameters().front().master.options());
  const auto self = static_cast<std::size_t>(ranks.rank());
  for (std::size_t i = 0; i + 1 < offsets_.size(); ++i) {
    AdamWParameter& parameter = optimiser.parameters()[i];
    if (parameter.frozen()) continue;
    parameter.gradient = gradients_.narrow(0, offsets_[i], parameter.compute.numel()).view(parameter.compute.sizes());
    const auto [first, last] = common(borders_[self], borders_[self + 1], offsets_[i], offsets_[i + 1]);
    // Where nothing is owned, any aligned place will do.
    optimiser.keep_part(i, last > first ? first - offsets_[i] : 0, last - first);
  }
}

void Sharding::begin_sums(std::size_t first, std::size_t last) {
  if (ranks_.world() == 1) return;
  for (int owner = 0; owner < ranks_.world(); ++owner) {
    const auto at = static_cast<std::size_t>(owner);
    const auto [begin, end] = common(borders_[at], borders_[at + 1], offsets_[first], offsets_[last]);
    if (end > begin) ranks_.begin_sum_to(owner, gradients_.narrow(0, begin, end - begin));
  }
}

Result<double> Sharding::finish_sums(const at::Tensor& figures) {
  RETORT_TRY(ranks_.finish());
  const at::Tensor squares = at::full({1}, optimiser_.sum_of_squares(), at::kDouble);
  RETORT_TRY(ranks_.sum(squares));
  RETORT_TRY(ranks_.sum(figures));
  return std::sqrt(squares.item<double>());
}

Result<void> Sharding::spread_weights() {
  if (ranks_.world() == 1) return {};
  const at::NoGradGuard no_gradient;
  for (int owner = 0; owner < ranks_.world(); ++owner) {
    const auto at = static_cast<std::size_t>(owner);
    std::vector<at::Tensor> parts;
    std::int64_t bytes = 0;
    for (std::size_t i = 0; i + 1 < offsets_.size(); ++i) {
      const auto [begin, end] = common(borders_[at], borders_[at + 1], offsets_[i], offsets_[i + 1]);
      if (end == begin) continue;
      parts.push_back(optimiser_.parameters()[i].compute.flatten().narrow(0, begin - offsets_[i], end - begin));
      bytes += static_cast<std::int64_t>(parts.back().nbytes());
    }
    if (bytes == 0) continue;
    const at::Tensor packed = at::empty({bytes}, parts.front().options().dtype(at::kByte));
    const auto each = [&](const auto& move) {
      std::int64_t first = 0;
      for (const at::Tensor& part : parts) {
        const at::Tensor as_bytes = part.view(at::kByte);
        move(packed.narrow(0, first, as_bytes.numel()), as_bytes);
        first += as_bytes.numel();
      }
    };
    if (owner == ranks_.rank()) {
      each([](const at::Tensor& place, const at::Tensor& part) { place.copy_(part); });
    }
    RETORT_TRY(ranks_.broadcast(owner, packed));
    if (owner == ranks_.rank()) continue;
    each([](const at::Tensor& place, const at::Tensor& part) { part.copy_(place); });
  }
  return {};
}

Result<at::Tensor> Sharding::gather(const StateTensor& state) {
  if (ranks_.world() == 1) return state.part.read();
  // Parts don't overlap: where they are not, zeros.
  at::Tensor whole = at::zeros(state.shape, state.part.options());
  whole.flatten().narrow(0, state.first, state.part.numel()).copy_(state.part.read().flatten());
  ranks_.begin_sum_to(0, whole);
  RETORT_TRY(ranks_.finish());
  return ranks_.leads() ? whole.cpu() : at::Tensor();  // a device has no room for what the others keep
}

Result<std::vector<model::NamedTensor>> Sharding::gather_states() {
  const at::NoGradGuard no_gradient;
  std::vector<model::NamedTensor> all;
  for (const StateTensor& state : optimiser_.states()) {
    RETORT_ASSIGN(at::Tensor whole, gather(state));
    if (ranks_.leads()) all.push_back({state.name, std::move(whole)});
  }
  return all;
}

Result<std::vector<model::NamedTensor>> Sharding::gather_masters() {
  const at::NoGradGuard no_gradient;
  std::vector<model::NamedTensor> all;
  for (const AdamWParameter& parameter : optimiser_.parameters()) {
    at::Tensor whole;
    if (parameter.frozen()) {
      if (ranks_.leads()) whole = parameter.master.read();
    } else {
      RETORT_ASSIGN(whole,
                    gather({parameter.name, parameter.master, parameter.compute.sizes().vec(), parameter.first}));
    }
    if (ranks_.leads()) all.push_back({parameter.name, std::move(whole)});
  }
  return all;
}

std::vector<model::NamedTensor> Sharding::whole_states() const {
  std::vector<model::NamedTensor> all;
  for (const StateTensor& state : optimiser_.states()) {
    const bool as_it_lies = ranks_.world() == 1 && !state.part.in_halves();
    all.push_back({state.name, as_it_lies ? state.part.whole : at::empty(state.shape, state.part.type())});
  }
  return all;
}

Result<void> Sharding::scatter_states(const std::vector<model::NamedTensor>& states) {
  const at::NoGradGuard no_gradient;
  const std::vector<StateTensor> own = optimiser_.states();
  for (std::size_t i = 0; i < own.size(); ++i) {
    if (ranks_.world() == 1 && !own[i].part.in_halves()) continue;  // read into its place
    RETORT_TRY(ranks_.broadcast(0, states[i].tensor));
    own[i].part.write(states[i].tensor.flatten().narrow(0, own[i].first, own[i].part.numel()));
  }
  return {};
}

}  // namespace retort::train
