#include "serve/logprobs.h"

#include <algorithm>

#include "evaluate/softmax.h"

namespace retort::serve {

RowLogprobs row_logprobs(std::span<const float> logits, TokenId id, std::size_t top) {
  const evaluate::RowSummary summary = evaluate::summarise_row(logits);
  RowLogprobs result;
  result.finite = summary.finite;
  if (!result.finite) return result;
  result.logprob = evaluate::log_probability(logits, summary, static_cast<std::size_t>(id));
  top = std::min(top, logits.size());
  if (top == 0) return result;
  const auto better = [&](TokenId a, TokenId b) {
    const float x = logits[static_cast<std::size_t>(a)];
    const float y = logits[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;
  };
  // A heap of the best, the worst of them in front: most of the row fails its first comparison.
  std::vector<TokenId> best;
  best.reserve(top);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const auto candidate = static_cast<TokenId>(i);
    if (best.size() < top) {
      best.push_back(candidate);
      std::push_heap(best.begin(), best.end(), better);
    } else if (better(candidate, best.front())) {
      std::pop_heap(best.begin(), best.end(), better);
      best.back() = candidate;
      std::push_heap(best.begin(), best.end(), better);
    }
  }
  std::sort(best.begin(), best.end(), better);
  for (const TokenId token : best) {
    result.top.emplace_back(token, evaluate::log_probability(logits, summary, static_cast<std::size_t>(token)));
  }
  return result;
}

}  // namespace retort::serve
