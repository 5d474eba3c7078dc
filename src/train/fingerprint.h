// What makes a training the one it is: only the same may go on from a checkpoint.
#pragma once

#include <string>

#include "model/decoder.h"
#include "train/train.h"

namespace retort::train {

// A digest of everything that decides the losses: options, examples, the weights of teacher (null: its text alone) and
// student (FP32, before training), and what is computed in. What only decides how often something is saved or measured,
// or where the work is done, isn't in it.
std::string fingerprint(const model::Decoder* teacher, const model::Decoder& student, model::ComputeType compute,
                        const TrainExamples& examples, const TrainOptions& options);

}  // namespace retort::train
