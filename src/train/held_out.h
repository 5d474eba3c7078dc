// The fixed part of the held-out examples, with the teacher's hidden states worked out once.
//
// Ranks measure a share each. Borrows the runner for the length of a call. One thread at a time.
#pragma once

#include <span>
#include <vector>

#include "dataset/example.h"
#include "train/ranks.h"
#include "train/step.h"
#include "train/train_options.h"

namespace retort::train {

class HeldOut {
 public:
  HeldOut(const StepRunner& runner, std::span<const dataset::Example> examples, const TrainOptions& options,
          Ranks& ranks);

  bool empty() const { return empty_; }
  // KL(teacher || student) in nats per supervised token; negative when nothing is held out. Error (kWorld): a rank was
  // lost.
  Result<double> kl(StepRunner& runner) const;

 private:
  struct Part {
    Batch batch;
    at::Tensor teacher;
  };
  Ranks& ranks_;
  bool empty_ = true;        // on every rank
  std::vector<Part> parts_;  // this rank's
};

}  // namespace retort::train
