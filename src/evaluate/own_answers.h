// What the teacher thinks of answers that a model wrote itself.
//
// Held-out KL speaks of texts that the teacher wrote. A student in use reads its own words, with its own mistakes in
// them, and what it does there is what on-policy training is for (Agarwal et al., GKD, arXiv 2306.13649, section 3.1).
// Borrows the engines for the call; one thread.
#pragma once

#include <cstdint>
#include <span>
#include <stop_token>
#include <vector>

#include "base/error.h"
#include "base/progress.h"
#include "evaluate/bootstrap.h"
#include "exchange/engine.h"
#include "exchange/scorecard.h"

namespace retort::evaluate {

// Nats per token of the answers, end tokens included, with intervals over answers.
struct OwnAnswers {
  std::int64_t tokens = 0;
  Estimate teacher_nats;  // how much these tokens surprise the teacher: its cross-entropy
  Estimate model_nats;    // how much they surprise who wrote them
  Estimate kl_nats;       // KL(teacher || model) at these places
};

// answers[i] continues prompts[i]; at least one. `model` may be null: the teacher wrote them itself. Errors: as
// compare() has them.
Result<OwnAnswers> judge_answers(Scorer& teacher, Scorer* model, std::span<const std::vector<TokenId>> prompts,
                                 std::span<const TokenCompletion> answers, const BootstrapOptions& bootstrap,
                                 Progress& progress, std::stop_token stop);

}  // namespace retort::evaluate
