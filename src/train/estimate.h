// What training will cost, before it is paid: for `retort plan`, and to be held against what it did cost.
//
// Arithmetic only, with what was measured where that is given; any thread. Sources: 2 FLOPs a parameter
// and token forward, twice that backward (Kaplan et al., arXiv 2001.08361, section 2.1); the sizes of our own buffers,
// which step_test.cc counts.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "model/decoder_config.h"
#include "train/computed_in.h"
#include "train/train_options.h"

namespace retort::train {

// Bytes at the peak of a step, on one rank alone.
struct TrainMemory {
  std::int64_t student = 0;         // masters, compute copies, moments, gradients
  std::int64_t teacher = 0;         // weights
  std::int64_t activations = 0;     // kept for the backward pass, and what the two passes need besides
  std::int64_t logits = 0;          // a chunk of either model's, and the head's gradient of one
  std::int64_t teacher_states = 0;  // kept between passes, and between layers
  std::int64_t starting = 0;        // the student's, with adapters: in FP32 beside what is computed with; gone by then
  std::int64_t total() const { return teacher + std::max(starting, student + activations + logits + teacher_states); }
};
TrainMemory training_memory(const model::DecoderConfig& student, const model::DecoderConfig& teacher,
                            const ComputedIn& computed_in, const TrainOptions& options,
                            std::int64_t dataset_tokens = 0);

struct TrainCost {
  double flops_per_token =
      0;  // on average: student 6 N_s (less the gradients of what is frozen) + teacher 2 N_t where it reads
  double flops = 0;
  double seconds = 0;  // at the given speed; with measured costs what is measured on held-out tokens is in it
  std::int64_t tokens = 0;
  std::int64_t steps = 0;
  TrainMemory memory;
  std::int64_t disk_bytes = 0;  // checkpoints and trained masters
};

// Parameters that the optimiser updates: the adapters, or all weights but frozen embeddings.
std::int64_t trained_parameter_count(const model::DecoderConfig& student, const TrainOptions& options);

// What the parts of a step take on a machine (train/step_costs.h), in seconds.
struct StepCosts {
  double teacher_layer_s = 0;   // a token through a layer of the teacher
  double student_layer_s = 0;   // a token through a layer of the student, keeping what the backward pass needs
  double backward_layer_s = 0;  // and back, gradients included
  double heads_s = 0;           // a supervised token: logits of both models, the loss, gradients
  double parameter_s = 0;       // an update of a trained parameter
};

// How fast training is here.
struct TrainSpeed {
  double flops_per_s = 0;          // all cores together: a probe's GEMM rate times kTrainEfficiency; 0: not known
  std::optional<StepCosts> costs;  // measured: then they tell, and the rate doesn't
};

// `dataset_tokens`: of the training split.
TrainCost estimate(const model::DecoderConfig& student, const model::DecoderConfig& teacher,
                   const ComputedIn& computed_in, std::int64_t dataset_tokens, const TrainOptions& options,
                   const TrainSpeed& speed);

// Share of the probe's GEMM rate that whole training steps are assumed to reach; `retort bench train` measures it.
inline constexpr double kTrainEfficiency = 0.5;

}  // namespace retort::train
