// The numbered slots of a collection of prompts from a file: which prompt, which of its samples, which seed.
//
// Slot i is sample i mod samples of row i / samples, counted from 0; with one sample a prompt, slot i is row i. Every
// slot draws from a seed of its own that depends on the recipe's seed and the slot's number alone, so what it asks
// doesn't depend on the others, nor on where a collection was interrupted. Plain arithmetic, engine-free: rows can be
// read as a stream beside it, because their slots ascend with them. Values; any thread.
//
//   const SlotPlan plan(options, rows);            // rows: how many for_each_taken_prompt() gave, or rows.size()
//   for (std::int64_t slot : plan.slots_of(row)) ask(prompt, plan.answer_seed(slot));
#pragma once

#include <algorithm>
#include <cstdint>
#include <ranges>

#include "base/random.h"
#include "collect/collect_options.h"

namespace retort::collect {

class SlotPlan {
 public:
  SlotPlan() = default;  // no slots
  // `rows`: of the file, without those left out. options.count caps the slots; 0: all of them.
  SlotPlan(const CollectOptions& options, std::int64_t rows)
      : seed_(options.seed), samples_(std::max<std::int64_t>(1, options.samples_per_prompt)), slots_(rows * samples_) {
    if (options.count > 0) slots_ = std::min(slots_, options.count);
  }

  std::int64_t slots() const { return slots_; }
  std::int64_t samples() const { return samples_; }
  // Rows that have a slot: the first so many of the file.
  std::int64_t rows() const { return (slots_ + samples_ - 1) / samples_; }

  std::int64_t row_of(std::int64_t slot) const { return slot / samples_; }
  std::int64_t sample_of(std::int64_t slot) const { return slot % samples_; }
  // The slots of a row, ascending; none for a row beyond the cap. A row that came with its answer has the first alone:
  // there is nothing to sample.
  auto slots_of(std::int64_t row, bool answered = false) const {
    const std::int64_t begin = std::min(slots_, row * samples_);
    return std::views::iota(begin, std::min(slots_, begin + (answered ? 1 : samples_)));
  }
  // Whether the slot is asked or filled at all; see slots_of().
  bool is_used(std::int64_t slot, bool answered) const { return !answered || sample_of(slot) == 0; }

  // Of everything in the slot, and of its answer: SamplingOptions::seed, or an API's `seed`.
  std::uint64_t slot_seed(std::int64_t slot) const {
    return derive_seed(seed_, "collect", static_cast<std::uint64_t>(slot));
  }
  std::uint64_t answer_seed(std::int64_t slot) const { return derive_seed(slot_seed(slot), "answer"); }

 private:
  std::uint64_t seed_ = 0;
  std::int64_t samples_ = 1;
  std::int64_t slots_ = 0;
};

}  // namespace retort::collect
