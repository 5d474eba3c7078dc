// What the parts of a training step cost on this machine: measured for a second on a few layers of the models' own
// shapes, so that a plan can multiply them up.
//
// A matrix-product rate alone doesn't tell: with fast products most of a step is moving memory. Weights and text are
// random (train/random_model.h). One thread; uses libtorch's threads inside, and leaves nothing.
#pragma once

#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "base/error.h"
#include "model/decoder_config.h"
#include "train/step.h"
#include "train/train_options.h"

namespace retort::train {

// Seconds.
struct StepCosts {
  double teacher_layer_s = 0;   // a token through a layer of the teacher
  double student_layer_s = 0;   // a token through a layer of the student, keeping what the backward pass needs
  double backward_layer_s = 0;  // and back, gradients included
  double heads_s = 0;           // a supervised token: logits of both models, the loss, gradients
  double parameter_s = 0;       // an update of a trained parameter
};

// Absent where a layer is so large that measuring one would take more memory than a plan should. `options`: what a step
// is made of (tokens_per_step, optimiser, adapters, …); the signal is taken for online. Error (kWorld): memory runs
// out.
Result<std::optional<StepCosts>> measure_step_costs(const model::DecoderConfig& student,
                                                    const model::DecoderConfig& teacher, TrainOptions options,
                                                    const ComputedIn& computed_in, const Clock& clock);

}  // namespace retort::train
