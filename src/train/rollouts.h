// On-policy learning: the student's own answers, which the teacher then judges (GKD, arXiv 2306.13649, algorithm 1).
//
// Training asks for a round of them from time to time; who keeps prompts and exchanges answers. One thread.
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
#include "dataset/example.h"

namespace retort::model {
class Decoder;
}

namespace retort::train {

struct RolloutRound {
  std::int64_t number = 0;  // from 0
  std::int64_t step = 0;    // steps done when it is asked for
  std::int64_t tokens = 0;  // wanted: at least so many in all, prompts included
  std::string fingerprint;  // of the training: with the number it names the round
};

class RolloutSource {
 public:
  virtual ~RolloutSource() = default;
  // Answers of the student as it is now, each with its own tokens as targets. A round that was made before, by the same
  // training, is given again as it was. Error kInterrupted: stopped before the round was whole; nothing of it is kept.
  virtual Result<std::vector<dataset::Example>> round(const model::Decoder& student, const RolloutRound& round,
                                                      std::stop_token stop) = 0;
};

}  // namespace retort::train
