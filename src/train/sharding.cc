#include "train/sharding.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <utility>

#include "train/bf16_values.h"

namespace retort::train {
namespace {

// Of the weights that an owner sends at a time, all owners at once.
constexpr std::int64_t kLoad_bytes = 16'000'000;

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
  const auto self = static_cast<std::size_t>(ranks.rank());
  for (std::size_t i = 0; i + 1 < offsets_.size(); ++i) {
    if (optimiser.parameters()[i].frozen()) continue;
    const auto [first, last] = common(borders_[self], borders_[self + 1], offsets_[i], offsets_[i + 1]);
    // Where nothing is owned, any aligned place will do.
    optimiser.keep_part(i, last > first ? first - offsets_[i] : 0, last - first);
  }
  allot_sums();
}

void Sharding::allot_sums() {
  const at::NoGradGuard no_gradient;
  sums_ = at::empty({offsets_.back()}, optimiser_.parameters().front().compute.options().dtype(at::kFloat));
  for (std::size_t i = 0; i + 1 < offsets_.size(); ++i) {
    AdamWParameter& parameter = optimiser_.parameters()[i];
    if (parameter.frozen()) continue;
    parameter.sum = sums_.narrow(0, offsets_[i], parameter.compute.numel()).view(parameter.compute.sizes());
  }
}

void Sharding::forget_gradients() {
  optimiser_.forget_gradients();
  if (ranks_.world() > 1) allot_sums();
}

// Gradients as they lie, but what this rank owns as a sum that others can be added to.
Ranks::Parts Sharding::bf16_parts(std::size_t first, std::size_t last) {
  const auto self = static_cast<std::size_t>(ranks_.rank());
  Ranks::Parts parts(borders_.size() - 1);
  for (std::size_t owner = 0; owner < parts.size(); ++owner) {
    const auto [begin, end] = common(borders_[owner], borders_[owner + 1], offsets_[first], offsets_[last]);
    if (owner == self && end > begin) parts[self].push_back(sums_.narrow(0, begin, end - begin));
    for (std::size_t i = first; i < last; ++i) {
      const auto [from, to] = common(begin, end, offsets_[i], offsets_[i + 1]);
      if (to == from) continue;
      const AdamWParameter& parameter = optimiser_.parameters()[i];
      const at::Tensor part = parameter.gradient.flatten().narrow(0, from - offsets_[i], to - from);
      if (owner != self) {
        parts[owner].push_back(part);
      } else if (!parameter.gradient.is_same(parameter.sum)) {
        copy_values(part, sums_.narrow(0, from, to - from));
      }
    }
  }
  return parts;
}

void Sharding::begin_sums(std::size_t first, std::size_t last, bool in_bf16) {
  if (ranks_.world() == 1) return;
  const at::NoGradGuard no_gradient;
  if (!in_bf16) {
    optimiser_.settle_gradients(first, last);
    Ranks::Parts parts(borders_.size() - 1);
    for (std::size_t owner = 0; owner < parts.size(); ++owner) {
      const auto [begin, end] = common(borders_[owner], borders_[owner + 1], offsets_[first], offsets_[last]);
      if (end > begin) parts[owner].push_back(sums_.narrow(0, begin, end - begin));
    }
    ranks_.begin_sums(parts, false);
    return;
  }
  optimiser_.zero_unwritten(first, last);
  ranks_.begin_sums(bf16_parts(first, last), true);
  for (std::size_t i = first; i < last; ++i) {
    AdamWParameter& parameter = optimiser_.parameters()[i];
    if (!parameter.frozen()) parameter.gradient = parameter.sum;
  }
}

Result<double> Sharding::finish_sums(const at::Tensor& figures) {
  RETORT_TRY(ranks_.finish());
  const at::Tensor squares = at::full({1}, optimiser_.sum_of_squares(), at::kDouble);
  RETORT_TRY(ranks_.sum(squares));
  RETORT_TRY(ranks_.sum(figures));
  return std::sqrt(squares.item<double>());
}

std::vector<Sharding::Load> Sharding::loads_of(std::size_t owner) const {
  std::vector<Load> loads(1);
  std::int64_t room = kLoad_bytes;
  for (std::size_t i = 0; i + 1 < offsets_.size(); ++i) {
    const auto [begin, end] = common(borders_[owner], borders_[owner + 1], offsets_[i], offsets_[i + 1]);
    if (end == begin) continue;
    const at::Tensor part = optimiser_.parameters()[i].compute.flatten().narrow(0, begin - offsets_[i], end - begin);
    const at::Tensor as_bytes = part.view(at::kByte);
    for (std::int64_t first = 0; first < as_bytes.numel();) {
      if (room == 0) {
        loads.emplace_back();
        room = kLoad_bytes;
      }
      const std::int64_t count = std::min(room, as_bytes.numel() - first);
      loads.back().parts.push_back(as_bytes.narrow(0, first, count));
      loads.back().end = i + 1;
      first += count;
      room -= count;
    }
  }
  return loads;
}

Result<void> Sharding::update(double learning_rate, double gradient_norm) {
  const std::optional<AdamW::Update> update = optimiser_.begin_step(learning_rate, gradient_norm);
  if (ranks_.world() == 1) {
    if (update) optimiser_.update_range(*update, 0, optimiser_.parameters().size());
    return {};
  }
  return spread(update ? &*update : nullptr);
}

Result<void> Sharding::spread(const AdamW::Update* update) {
  if (ranks_.world() == 1) return {};
  const at::NoGradGuard no_gradient;
  std::vector<std::vector<Load>> loads;  // of each owner
  std::size_t rounds = 0;
  for (int owner = 0; owner < ranks_.world(); ++owner) {
    loads.push_back(loads_of(static_cast<std::size_t>(owner)));
    rounds = std::max(rounds, loads.back().size());
  }
  const auto self = static_cast<std::size_t>(ranks_.rank());
  std::size_t updated = 0;
  const auto update_until = [&](std::size_t round) {
    const std::size_t end = round < loads[self].size() ? loads[self][round].end : updated;
    if (update != nullptr && end > updated) optimiser_.update_range(*update, updated, end);
    updated = std::max(updated, end);
  };
  update_until(0);
  for (std::size_t round = 0; round < rounds; ++round) {
    std::vector<at::Tensor> packed(loads.size());
    for (std::size_t owner = 0; owner < loads.size(); ++owner) {
      if (round >= loads[owner].size() || loads[owner][round].parts.empty()) continue;
      const std::vector<at::Tensor>& parts = loads[owner][round].parts;
      std::int64_t bytes = 0;
      for (const at::Tensor& part : parts) bytes += part.numel();
      packed[owner] = owner == self ? at::cat(parts) : at::empty({bytes}, parts.front().options());
      ranks_.begin_broadcast(static_cast<int>(owner), packed[owner]);
    }
    update_until(round + 1);
    RETORT_TRY(ranks_.finish());
    for (std::size_t owner = 0; owner < loads.size(); ++owner) {
      if (owner == self || !packed[owner].defined()) continue;
      std::int64_t first = 0;
      for (const at::Tensor& part : loads[owner][round].parts) {
        part.copy_(packed[owner].narrow(0, first, part.numel()));
        first += part.numel();
      }
    }
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

Result<std::vector<StateTensor>> Sharding::gather_states() {
  std::vector<StateTensor> all = optimiser_.states();
  if (ranks_.world() == 1) return all;
  const at::NoGradGuard no_gradient;
  for (StateTensor& state : all) {
    RETORT_ASSIGN(at::Tensor whole, gather(state));
    state.part = {std::move(whole), {}, {}};
    state.first = 0;
  }
  if (!ranks_.leads()) all.clear();
  return all;
}

Result<std::vector<model::NamedTensor>> Sharding::take_masters() {
  const at::NoGradGuard no_gradient;
  optimiser_.forget_state();
  sums_ = at::Tensor();
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

std::vector<model::NamedTensor> Sharding::whole_states() {
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
