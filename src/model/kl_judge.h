// How far distributions are from a teacher's on one text: KL(teacher || other) in nats, the mean over some of its
// places.
//
// Holds the teacher's probabilities at these places, [places, vocabulary] FP32, and shares its weights. Records nothing
// for autograd. Any thread; one at a time.
#pragma once

#include <torch/types.h>

#include <cstdint>

#include "model/decoder.h"
#include "model/packed_text.h"

namespace retort::model {

class KlJudge {
 public:
  static constexpr std::int64_t kMostRows = 512;
  // At most `most_rows` of the text's judged places, spread over all of it.
  KlJudge(const Decoder& teacher, const PackedText& text, std::int64_t most_rows = kMostRows);

  // Of what the teacher's final norm and head make of `state`, [tokens of the text, hidden].
  double of_state(const torch::Tensor& state) const;
  // Of another model of the same vocabulary.
  double of(const Decoder& other, const PackedText& text) const;

 private:
  // Of logits at the judged places.
  double of_logits(const torch::Tensor& logits) const;

  Decoder teacher_;
  torch::Tensor rows_, probabilities_, negative_entropy_;
};

}  // namespace retort::model
