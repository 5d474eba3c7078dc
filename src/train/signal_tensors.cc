#include "train/signal_tensors.h"

#include <torch/torch.h>

#include <algorithm>
#include <limits>
#include <span>
#include <utility>

#include "base/random.h"

namespace retort::train {
namespace {

// Rows whose sums in FP64 exist at a time.
constexpr std::int64_t kRowsAtATime = 512;

template <class T>
std::span<const T> row_of(const at::Tensor& rows, std::int64_t row) {
  const auto width = static_cast<std::size_t>(rows.size(1));
  return {rows.const_data_ptr<T>() + static_cast<std::size_t>(row) * width, width};
}

// Draws of some rows: see dataset::draw_slots().
void draw(const at::Tensor& probabilities, std::int64_t first, const dataset::SignalHeader& header,
          std::span<dataset::SignalRow> rows) {
  const std::int64_t count = probabilities.size(0), slots = header.slots;
  const auto [top, top_ids] = at::topk(probabilities, slots, 1, true, true);
  const at::Tensor likeliest = top_ids.to(at::kInt).cpu(), theirs = top.cpu();
  const at::Tensor sums = probabilities.sum(1, false, at::kDouble).cpu();
  std::vector<Random> random;
  at::Tensor left = theirs.clone();  // of the likeliest, without those that are taken
  for (std::int64_t i = 0; i < count; ++i) {
    random.emplace_back(derive_seed(header.seed, "signal", static_cast<std::uint64_t>(first + i)));
    auto& own = rows[static_cast<std::size_t>(i)].slots;
    own = dataset::take_likeliest(row_of<std::int32_t>(likeliest, i), row_of<float>(theirs, i),
                                  sums.const_data_ptr<double>()[i], random.back());
    float* to = left.mutable_data_ptr<float>() + i * slots;
    std::fill_n(to, own.size(), 0.0F);
  }
  const at::Tensor running =
      probabilities.scatter(1, top_ids, left.to(probabilities.device())).to(at::kDouble).cumsum(1);
  const at::Tensor rest = running.select(1, running.size(1) - 1).cpu().contiguous();
  at::Tensor marks = at::full({count, slots}, std::numeric_limits<double>::infinity(), at::kDouble);
  std::vector<double> thresholds(static_cast<std::size_t>(count), 0);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const std::size_t teeth = static_cast<std::size_t>(slots) - rows[at].slots.size();
    if (teeth > 0) thresholds[at] = rest.const_data_ptr<double>()[i] / static_cast<double>(teeth);
    const double shift = random[at].uniform();
    double* mark = marks.mutable_data_ptr<double>() + i * slots;
    for (std::size_t tooth = 0; tooth < teeth && thresholds[at] > 0; ++tooth) {
      mark[tooth] = (shift + static_cast<double>(tooth)) * thresholds[at];
    }
  }
  const at::Tensor hit = at::searchsorted(running, marks.to(running.device()), false, true).to(at::kInt).cpu();
  for (std::int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    auto& own = rows[at].slots;
    TokenId last = -1;
    for (const std::int32_t id : row_of<std::int32_t>(hit, i)) {
      if (id >= probabilities.size(1) || id == last) continue;
      own.push_back(dataset::drawn_slot(id, thresholds[at], random[at]));
      last = id;
    }
    own.resize(static_cast<std::size_t>(slots));
  }
}

void keep_top(const at::Tensor& probabilities, const dataset::SignalHeader& header,
              std::span<dataset::SignalRow> rows) {
  const auto [top, top_ids] = at::topk(probabilities, header.slots, 1, true, true);
  const at::Tensor ids = top_ids.to(at::kInt).cpu(), theirs = top.cpu();
  for (std::int64_t i = 0; i < ids.size(0); ++i) {
    const auto own_ids = row_of<std::int32_t>(ids, i);
    const auto own = row_of<float>(theirs, i);
    for (std::size_t slot = 0; slot < own_ids.size(); ++slot) {
      rows[static_cast<std::size_t>(i)].slots.push_back(dataset::top_slot(own_ids[slot], own[slot]));
    }
  }
}

}  // namespace

std::vector<dataset::SignalRow> signal_rows_by_tensors(const at::Tensor& probabilities, const at::Tensor& log_z,
                                                       const at::Tensor& entropy, std::int64_t first,
                                                       const dataset::SignalHeader& header) {
  const std::int64_t count = probabilities.size(0);
  std::vector<dataset::SignalRow> rows(static_cast<std::size_t>(count));
  const at::Tensor log_zs = log_z.cpu(), entropies = entropy.cpu();
  for (std::int64_t i = 0; i < count; ++i) {
    rows[static_cast<std::size_t>(i)].log_z = log_zs.const_data_ptr<float>()[i];
    rows[static_cast<std::size_t>(i)].entropy = entropies.const_data_ptr<float>()[i];
  }
  for (std::int64_t begin = 0; begin < count; begin += kRowsAtATime) {
    const std::int64_t part = std::min(kRowsAtATime, count - begin);
    const std::span<dataset::SignalRow> own =
        std::span(rows).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(part));
    const at::Tensor theirs = probabilities.narrow(0, begin, part);
    if (header.kind == dataset::SignalKind::kTopK) {
      keep_top(theirs, header, own);
    } else {
      draw(theirs, first + begin, header, own);
    }
  }
  return rows;
}

}  // namespace retort::train
