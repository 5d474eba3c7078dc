#include "exchange/repetition.h"

#include <algorithm>
#include <array>
#include <set>

namespace retort {

namespace {

constexpr std::size_t kMaxPeriod = 64;
constexpr std::size_t kGram = 4;

double repeated_share(std::span<const TokenId> ids) {
  if (ids.size() < kGram) return 0;
  std::set<std::array<TokenId, kGram>> seen;
  const std::size_t grams = ids.size() - kGram + 1;
  for (std::size_t i = 0; i < grams; ++i) seen.insert({ids[i], ids[i + 1], ids[i + 2], ids[i + 3]});
  return static_cast<double>(grams - seen.size()) / static_cast<double>(grams);
}

}  // namespace

Repetition measure_repetition(std::span<const TokenId> ids, const RepetitionRule& rule) {
  Repetition found;
  for (std::size_t period = 1; period <= kMaxPeriod && period < ids.size(); ++period) {
    std::size_t matches = 0;  // in a row, up to here
    for (std::size_t i = period; i < ids.size(); ++i) {
      matches = ids[i] == ids[i - period] ? matches + 1 : 0;
      const std::size_t length = matches + period;
      if (matches > 0 && static_cast<double>(length) >= rule.loop_repeats * static_cast<double>(period) &&
          static_cast<std::int64_t>(length) > found.loop_tokens) {
        found.loop_tokens = static_cast<std::int64_t>(length);
        found.period = static_cast<std::int64_t>(period);
      }
    }
  }
  found.repeated_share = repeated_share(ids);
  const bool long_enough = static_cast<std::int64_t>(ids.size()) >= rule.loop_tokens;
  found.is_loop = (found.period > 0 && found.loop_tokens >= rule.loop_tokens) ||
                  (long_enough && found.repeated_share > rule.max_repeated_share);
  return found;
}

bool copies(std::span<const TokenId> text, std::span<const TokenId> source, std::size_t length) {
  for (std::size_t i = 0; i + length <= text.size(); ++i) {
    const auto run = text.subspan(i, length);
    if (std::search(source.begin(), source.end(), run.begin(), run.end()) != source.end()) return true;
  }
  return false;
}

}  // namespace retort
