// A few short answers of the student, asked from time to time with the same prompts and seeds: does it still answer?
//
// Prompts are those of the first held-out examples. Draws come from streams of their own, so nothing that training
// draws is shifted, and the same weights give the same answers. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "dataset/example.h"
#include "exchange/engine.h"
#include "train/health.h"
#include "train/train_options.h"

namespace retort::model {
class Decoder;
}

namespace retort::train {

// The longest answer, unless the teacher's were cut earlier: enough to see emptiness, copying (12 tokens) and loops
// (24), and soon done.
inline constexpr std::size_t kHealthAnswerTokens = 32;
// They are asked at every second held-out measurement, and before and after training: a measurement with answers takes
// three to four times as long as one without.
inline constexpr std::int64_t kHealthAnswersEvery = 2;

class HealthAnswers {
 public:
  // options.health_answers of them. `sampling`: as the teacher's answers were drawn and cut; its seed isn't read.
  HealthAnswers(std::span<const dataset::Example> held_out, const TrainOptions& options,
                const SamplingOptions& sampling, std::span<const TokenId> end_ids, std::size_t context_tokens);

  bool empty() const { return prompts_.empty(); }
  // Error: the engine's.
  Result<OwnAnswers> measure(const model::Decoder& student) const;

 private:
  std::vector<std::vector<TokenId>> prompts_;
  AnswerFigures teacher_;
  SamplingOptions sampling_;
  std::vector<TokenId> end_ids_;
};

}  // namespace retort::train
