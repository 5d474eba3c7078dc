// Whether a text fell into a loop, by its token ids: one definition for curation and evaluation.
//
// Two measures. (1) The longest stretch that repeats with some period of 1..kMaxPeriod tokens: a stretch [a, b) has
// period p when ids[i] == ids[i - p] for all i in [a + p, b); it repeats (b - a) / p times. (2) The share of n-grams
// that occurred earlier in the same text (as in "rep-n" of Welleck et al., arXiv 1908.04319). Pure functions; any
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "exchange/exchange.h"

namespace retort {

struct RepetitionRule {
  std::int64_t loop_tokens = 24;    // a loop is at least this long
  double loop_repeats = 3;          // and repeats at least so often
  double max_repeated_share = 0.7;  // of 4-grams, in a text of at least loop_tokens
};

struct Repetition {
  std::int64_t loop_tokens = 0;  // length of the longest stretch that repeats at least rule.loop_repeats times
  std::int64_t period = 0;       // its period; 0 when there is none
  double repeated_share = 0;     // 4-grams seen before, 0..1
  bool is_loop = false;          // by the rule
};

Repetition measure_repetition(std::span<const TokenId> ids, const RepetitionRule& rule = {});

// Whether `text` holds a run of `length` tokens that stands in `source` too.
bool copies(std::span<const TokenId> text, std::span<const TokenId> source, std::size_t length);

// An answer that repeats so many tokens in a row of its prompt copies it.
inline constexpr std::size_t kCopiedTokens = 12;

}  // namespace retort
