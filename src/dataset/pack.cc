#include "dataset/pack.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/random.h"

namespace retort::dataset {

namespace {

// Puts the first `length` tokens of an example behind what the row holds.
void append(PackedRow& row, const Example& example, std::size_t length, std::uint32_t index) {
  const auto document = static_cast<std::int32_t>(row.examples.size());
  row.examples.push_back(index);
  for (std::size_t i = 0; i < length; ++i) {
    row.ids.push_back(example.ids[i]);
    row.positions.push_back(static_cast<std::int32_t>(i));
    row.document.push_back(document);
    const bool predicts = i + 1 < length && example.supervised[i + 1] != 0;
    row.labels.push_back(predicts ? example.ids[i + 1] : kNoLabel);
    row.targets += predicts ? 1 : 0;
  }
  row.used += static_cast<std::int32_t>(length);
}

void pad(PackedRow& row, std::size_t length) {
  row.ids.resize(length, 0);
  row.positions.resize(length, 0);
  row.document.resize(length, kNoDocument);
  row.labels.resize(length, kNoLabel);
}

bool has_target(const Example& example, std::size_t length) {
  return std::any_of(example.supervised.begin() + (length > 0 ? 1 : 0),
                     example.supervised.begin() + static_cast<std::ptrdiff_t>(length),
                     [](std::uint8_t is_target) { return is_target != 0; });
}

}  // namespace

double Packing::fill() const {
  if (rows.empty()) return 0;
  return static_cast<double>(tokens) / static_cast<double>(rows.size() * rows.front().ids.size());
}

Packing pack(std::span<const Example> examples, const PackOptions& options) {
  RETORT_CHECK(options.max_length >= 2);
  Random random(derive_seed(options.seed, "pack", options.epoch));
  std::vector<std::uint32_t> order(examples.size());
  std::iota(order.begin(), order.end(), 0U);
  random.shuffle(order);
  const auto length_of = [&](std::uint32_t i) { return std::min(examples[i].ids.size(), options.max_length); };
  // Stable: equal lengths stay shuffled.
  std::ranges::stable_sort(order, [&](std::uint32_t a, std::uint32_t b) { return length_of(a) > length_of(b); });

  Packing packing;
  std::multimap<std::size_t, std::size_t> rows_by_room;
  for (const std::uint32_t i : order) {
    const Example& example = examples[i];
    RETORT_CHECK(example.ids.size() == example.supervised.size());
    const std::size_t length = length_of(i);
    if (!has_target(example, length)) {
      ++packing.targetless_examples;
      continue;
    }
    if (example.ids.size() > length) {
      ++packing.cut_examples;
      packing.cut_tokens += static_cast<std::int64_t>(example.ids.size() - length);
    }
    std::size_t room = options.max_length;
    std::size_t row = packing.rows.size();
    if (const auto fitting = rows_by_room.lower_bound(length); fitting != rows_by_room.end()) {
      std::tie(room, row) = *fitting;
      rows_by_room.erase(fitting);
    } else {
      packing.rows.emplace_back();
    }
    append(packing.rows[row], example, length, i);
    rows_by_room.emplace(room - length, row);
  }
  random.shuffle(packing.rows);
  for (PackedRow& row : packing.rows) {
    pad(row, options.max_length);
    packing.tokens += row.used;
    packing.targets += row.targets;
  }
  return packing;
}

}  // namespace retort::dataset
