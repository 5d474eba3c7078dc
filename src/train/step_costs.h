// What the parts of a training step cost on this machine: measured for a second on a few layers of the models' own
// shapes, so that a plan can multiply them up.
//
// A matrix-product rate alone doesn't tell: with fast products most of a step is moving memory. Weights and text are
// random (train/random_model.h). One thread; uses libtorch's threads inside, and leaves nothing.
#pragma once

#include <optional>

#include "base/clock.h"
#include "base/error.h"
#include "model/decoder_config.h"
#include "train/estimate.h"
#include "train/step.h"
#include "train/train_options.h"

namespace retort::train {

// Absent where a layer is so large that measuring one would take more memory than a plan should, or than there is.
// `options`: what a step is made of (tokens_per_step, optimiser, adapters, …); the signal is taken for online.
Result<std::optional<StepCosts>> measure_step_costs(const model::DecoderConfig& student,
                                                    const model::DecoderConfig& teacher, const TrainOptions& options,
                                                    const ComputedIn& computed_in, const Clock& clock);

}  // namespace retort::train
