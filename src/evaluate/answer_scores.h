// A model on the answers of a teacher that gave text alone: how much they surprise it, and, where the service told the
// probabilities of the words it drew, how far the model's distribution is from the teacher's.
//
// The second is sampled, not computed: for answers x drawn from the teacher's own distribution p, the mean of
// log p(x) - log q(x) is KL(p || q) of whole answers without bias, and by the chain rule the sum over their tokens of
// what compare() computes in full (Cover and Thomas, Elements of Information Theory, 2.5). Answers are compared as
// texts, so the two may cut them into other tokens; the end of turn, which services don't report, is left out. FP64.
//
// Engines are borrowed for the call and used from the calling thread; the arithmetic runs on several.
#pragma once

#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/progress.h"
#include "evaluate/bootstrap.h"
#include "evaluate/compare.h"
#include "exchange/engine.h"
#include "exchange/exchange.h"

namespace retort::evaluate {

struct AnswerScore {
  double tokens = 0;  // scored
  double nats = 0;    // -log of their probability
  // Without the end of turn.
  double text_tokens = 0;
  double text_nats = 0;
};

// Of each example, in order. Errors: kCaller for a context or vocabulary that doesn't hold the examples; kWorld for
// logits that aren't finite; kInterrupted between exchanges.
Result<std::vector<AnswerScore>> score_answers(Scorer& model, const std::string& name,
                                               std::span<const HeldOutExample> examples,
                                               std::span<const TokenId> end_ids, Progress& progress,
                                               std::stop_token stop);

// exp of the mean surprise a token.
Estimate answer_perplexity(std::span<const AnswerScore> scores, const BootstrapOptions& bootstrap);

// Nats: the sum of the log-probabilities that the service told for the tokens of this answer's text. Nothing when it
// told none, or its tokens don't spell the text; and nothing for an answer that wasn't drawn from the teacher's own
// distribution (temperature 1, no token left out), whose probabilities say nothing of how often it is drawn.
std::optional<double> told_log_probability(const Exchange& exchange);

// KL(teacher || model) in nats per token of the model; `told` has one entry an exchange. Nothing without any.
std::optional<Estimate> sampled_kl(std::span<const std::optional<double>> told, std::span<const AnswerScore> scores,
                                   const BootstrapOptions& bootstrap);

}  // namespace retort::evaluate
