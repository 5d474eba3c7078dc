// The tokens that a service says it drew (exchange/told_tokens.h), as ids of a local tokenizer.
//
// A service names its tokens by their bytes. Where each of an answer's is one token here too, its words are those the
// teacher drew, which tokenising the text again need not give; and what the service tells of probabilities is about
// them. Pure; any thread.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "exchange/exchange.h"
#include "tokens/tokenizer.h"

namespace retort::tokens {

struct AnswerToken {
  TokenId id = 0;
  double logprob = 0;                                      // nats
  std::vector<std::pair<TokenId, double>> likeliest = {};  // those told that are tokens here; `id` may be one
};

// Nothing where nothing was told, or a token isn't one here, or together they aren't the answer's text (but for bytes
// that are no UTF-8). The last may be the end of turn, where the service tells it.
std::optional<std::vector<AnswerToken>> answer_tokens(const Completion& completion, const Tokenizer& tokenizer);

}  // namespace retort::tokens
