// What a model writes when nobody corrects it: length, whether it ends by itself, whether it falls into a loop.
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

// By the rule that curation uses too (exchange/repetition.h), end token not counted.
bool falls_into_a_loop(std::span<const TokenId> ids);

// An untrained cut writes noise to the last token: it needn't be measured at length.
inline constexpr std::size_t kUntrainedAnswers = 16;
inline constexpr std::int32_t kUntrainedTokens = 128;

struct GenerationStatistics {
  std::vector<TokenCompletion> answers;  // one a prompt, in the prompts' order
  Estimate tokens;                       // mean length of an answer, end token not counted
  Estimate ended_by_itself;              // fraction
  Estimate repetition;                   // fraction that fell into a loop
};

// The same of answers that are there already.
GenerationStatistics describe_generation(std::vector<TokenCompletion> answers, const BootstrapOptions& bootstrap);

// Continues every prompt once with `sampling` (whose seed is made different for each prompt, the same for each model).
// Prompts that leave no room in the model's context are the caller's fault. Progress counts answers.
Result<GenerationStatistics> measure_generation(TokenGenerator& generator,
                                                std::span<const std::vector<TokenId>> prompts,
                                                std::span<const TokenId> end_ids, const SamplingOptions& sampling,
                                                const BootstrapOptions& bootstrap, Progress& progress,
                                                std::stop_token stop);

// Puts length, end and repetition into `score`.
void set_generation(ModelScore& score, const GenerationStatistics& statistics);

}  // namespace retort::evaluate
