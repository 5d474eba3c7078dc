// What attention does with the scores of one query, and which keys a query sees: shared by the kernels of all
// instruction sets.
//
// For sources that are compiled once for every instruction set, as model/lanes.h: nothing here may be shared between
// them.
#pragma once

#include <cstddef>

#include "model/attention_kernels.h"
#include "model/lanes.h"

namespace retort::model {
namespace {

using lanes::all;
using lanes::exp_of_negative;
using lanes::Floats;
using lanes::kLanes;
using lanes::larger;
using lanes::largest;
using lanes::load;
using lanes::store;
using lanes::total;

// Scores of one query against `columns` keys, of which it may see those from `first` to before `seen`: p exp(scale s -
// its maximum), zero elsewhere. Returns the sum; `largest_score` is the maximum, scaled.
RETORT_INLINE float exponentials(float* scores, std::size_t first, std::size_t seen, std::size_t columns, float scale,
                                 float& largest_score) {
  for (std::size_t i = 0; i < first; ++i) scores[i] = -1e30F;
  for (std::size_t i = seen; i < columns; ++i) scores[i] = -1e30F;
  Floats largest_lanes = all(-1e30F);
  for (std::size_t i = 0; i < columns; i += kLanes) largest_lanes = larger(load(scores + i), largest_lanes);
  largest_score = largest(largest_lanes) * scale;
  Floats sum = all(0);
  for (std::size_t i = 0; i < columns; i += kLanes) {
    const Floats value = exp_of_negative(load(scores + i) * scale - largest_score);
    store(scores + i, value);
    sum += value;
  }
  for (std::size_t i = 0; i < first; ++i) scores[i] = 0;
  for (std::size_t i = seen; i < columns; ++i) scores[i] = 0;
  return static_cast<float>(total(sum));
}

// For a row of scores and of their values' products with what comes in: p = exp(scale s - log_sum), and the scores'
// gradients p (dp - mean) scale; zero for keys that aren't seen. Over both.
RETORT_INLINE void score_gradients_of(float* p, float* ds, std::size_t first, std::size_t seen, std::size_t columns,
                                      float scale, float log_sum, float mean) {
  for (std::size_t i = 0; i < columns; i += kLanes) {
    const Floats probability = exp_of_negative(load(p + i) * scale - log_sum);
    store(p + i, probability);
    store(ds + i, probability * (load(ds + i) - mean) * scale);
  }
  for (std::size_t i = 0; i < first; ++i) p[i] = ds[i] = 0;
  for (std::size_t i = seen; i < columns; ++i) p[i] = ds[i] = 0;
}

RETORT_INLINE std::size_t at_most(std::size_t a, std::size_t b) { return a < b ? a : b; }

// The first key that a query sees.
RETORT_INLINE std::size_t first_seen(const AttentionUnit& unit, std::size_t query) {
  return unit.window == 0 || query < unit.window ? 0 : query + 1 - unit.window;
}

// The keys that a block of queries may see, as whole groups of `group`.
struct Span {
  std::size_t first, columns;
  RETORT_INLINE Span(const AttentionUnit& unit, std::size_t begin, std::size_t rows, std::size_t group)
      : first(first_seen(unit, begin) / group * group), columns((begin + rows + group - 1) / group * group - first) {}
};

}  // namespace
}  // namespace retort::model
