// What is measured while training: the fixed part of the held-out examples, with the teacher's hidden states worked out
// once (where there is a teacher), and a text of the user's, where there is one, to see what is forgotten.
//
// KL, entropies, calibration and ends come from one pass of the student; its logits exist a chunk at a time. Ranks
// measure a share each. Borrows the runner for the length of a call. One thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "dataset/example.h"
#include "evaluate/health_sums.h"
#include "train/health.h"
#include "train/ranks.h"
#include "train/step.h"
#include "train/train_options.h"

namespace retort::train {

struct HeldOutFigures {
  // Nats per supervised token; negative: nothing held out. KL(teacher || student) or, where there is no teacher to
  // compare with, the cross-entropy of its answers.
  double loss = -1;
  std::optional<StudentHealth> health;  // without answers; absent when nothing is held out
};

class HeldOut {
 public:
  // `text`: every target of it counts, up to options.held_out_tokens tokens; may be empty. `end_ids`: what ends an
  // answer; may be empty.
  HeldOut(StepRunner& runner, std::span<const dataset::Example> examples, std::span<const dataset::Example> text,
          std::span<const TokenId> end_ids, const TrainOptions& options, Ranks& ranks);

  bool empty() const { return empty_; }
  // Error (kWorld): a rank was lost.
  Result<HeldOutFigures> measure(StepRunner& runner) const;

 private:
  struct Part {
    Batch batch;
    std::vector<std::uint32_t> indices;  // of each target in its answer, from 0
    at::Tensor teacher;                  // undefined without one
  };
  evaluate::HealthSums compare(const Part& part, std::int64_t begin, const at::Tensor& student,
                               const at::Tensor& teacher) const;

  Ranks& ranks_;
  bool has_teacher_;
  std::vector<TokenId> end_ids_;
  bool empty_ = true;        // on every rank
  std::vector<Part> parts_;  // this rank's
  std::vector<Batch> text_;  // this rank's
  LossSums text_teacher_;    // this rank's: the teacher's cross-entropy
};

}  // namespace retort::train
