// Perplexity of a model on any text: is what it knew before forgotten?
//
// The text is cut into windows of `window` tokens, `stride` apart. Every token is scored once, in the first window that
// holds it with the most context: the first window scores all its tokens, each later one its last `stride` tokens, so a
// token is predicted from at least window - stride tokens before it (but for the beginning of the text). The first
// token of the text is predicted only when `begin` is given. Perplexity = exp(sum of -log p / scored tokens); its
// interval is a bootstrap over windows, so a text of one window has none.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "base/error.h"
#include "evaluate/bootstrap.h"
#include "exchange/engine.h"
#include "exchange/scorecard.h"

namespace retort::evaluate {

struct TextOptions {
  std::size_t window = 512;      // tokens; at most the model's context
  std::size_t stride = 256;      // at least 1, less than the window (with `begin`: at most the window)
  std::optional<TokenId> begin;  // put before each window (the model's BOS token, if its file asks for one)
  int threads = 0;               // 0: as many as the machine has
};

struct TextScore {
  std::int64_t tokens = 0;  // scored
  double negative_log_probability = 0;
  Estimate perplexity;
};

// Errors (kCaller): a text without a token to score, window or stride out of range, an id outside the vocabulary.
Result<TextScore> score_text(Scorer& model, std::span<const TokenId> text, const TextOptions& options,
                             const BootstrapOptions& bootstrap, std::stop_token stop);

}  // namespace retort::evaluate
