// What training will cost, before it is paid: for `retort plan`.
//
// Arithmetic only; any thread. Sources: 2 FLOPs a parameter and token forward, twice that backward (Kaplan et al.,
// arXiv 2001.08361, section 2.1); the sizes of our own buffers, activations assumed.
#pragma once

#include <cstdint>

#include "train/train_options.h"

namespace retort::train {

struct TrainCost {
  double flops_per_token =
      0;  // on average: student 6 N_s (less a frozen head's gradient) + teacher 2 N_t where it reads
  double flops = 0;
  double seconds = 0;  // at the given rate
  std::int64_t tokens = 0;
  std::int64_t steps = 0;
  std::int64_t memory_bytes = 0;
  std::int64_t disk_bytes = 0;  // checkpoint and trained masters
};

// N: parameters of matrix products, head included (a tied head counts once for the product).
// `dataset_tokens`: of the training split. `flops_per_s`: what training reaches on this machine, all cores together; a
// probe's GEMM rate times kTrainEfficiency.
// `head_parameters`: vocabulary times hidden.
TrainCost estimate(std::int64_t student_parameters, std::int64_t teacher_parameters, std::int64_t head_parameters,
                   std::int64_t vocabulary, std::int64_t dataset_tokens, const TrainOptions& options,
                   double flops_per_s);

// Share of the probe's GEMM rate that whole training steps are assumed to reach; benchmarks/train_step measures it.
inline constexpr double kTrainEfficiency = 0.5;

}  // namespace retort::train
