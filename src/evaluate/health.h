// The student's health beyond one mean: is it as sure as it should be, as varied, as long, and where on the text is it
// worse?
//
// Computed from what compare() and measure_generation() kept, in FP64. Plain values and pure functions; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "evaluate/bootstrap.h"
#include "evaluate/compare.h"
#include "evaluate/health_sums.h"
#include "evaluate/own_answers.h"
#include "exchange/engine.h"

namespace retort::evaluate {

// Places where the model gave its likeliest token a probability within a tenth: how sure it was, and how sure the
// teacher is of that very token. A calibrated student has both equal (reliability diagram of Guo et al., arXiv
// 1706.04599, with the teacher's probability in the place of being right).
struct CalibrationBin {
  std::int64_t tokens = 0;
  double confidence = 0;  // mean probability by the model, of its likeliest token
  double teacher = 0;     // mean probability by the teacher, of the same token
};

// KL of a part of the scored tokens.
struct PartKl {
  std::string name;  // "tokens 1 to 4", "self_generated"
  std::int64_t tokens = 0;
  Estimate kl_nats;
};

// What a model does in its own answers.
struct AnswerHealth {
  double distinct_bigrams =
      0;              // different pairs of tokens among all pairs of all answers (Li et al., arXiv 1510.03055)
  double empty = 0;   // share of answers without a token before the end
  double copied = 0;  // share that copy their prompt (exchange/repetition.h)
  std::optional<OwnAnswers> judged;  // by the teacher; absent where nobody asked it
};

struct Health {
  std::array<CalibrationBin, kCalibrationBins> calibration;
  double calibration_error = 0;             // token-weighted mean of |confidence - teacher| over the bins
  Estimate teacher_entropy, model_entropy;  // nats, mean over the scored tokens
  // Mean probability of ending the answer where the teacher's answer ended, and where it went on. Negative: no place.
  double teacher_end_at_end = -1, model_end_at_end = -1;
  double teacher_end_elsewhere = -1, model_end_elsewhere = -1;
  std::vector<PartKl> by_position;  // of the token in its answer
  std::vector<PartKl> by_source;    // of the exchange
  AnswerHealth teacher_answers, model_answers;
};

// `tokens`: of one model, per exchange, from compare() with end ids; `sources`: one name an exchange; `end_ids` as
// given to compare().
Health measure_health(std::span<const std::vector<TokenComparison>> tokens, std::span<const std::string> sources,
                      std::span<const TokenId> end_ids, const BootstrapOptions& bootstrap);

AnswerHealth measure_answers(std::span<const std::vector<TokenId>> prompts, std::span<const TokenCompletion> answers);

// What a person should be warned of, as sentences; empty: all is well.
std::vector<std::string> warnings(const Health& health);

}  // namespace retort::evaluate
