// How fast this machine trains: tokens/s of whole steps, share of the measured matrix-product speed, memory.
//
// Teacher and student have the shapes of SmolLM2-135M (30 layers, and as many as asked for) and random weights;
// documents of 64 to 256 tokens, all supervised, are packed into rows of 256. What `retort bench train` prints. With a
// kept signal the teacher reads the documents once beforehand, which isn't timed, and is then gone.
// Process-wide: sets oneDNN's FP32 path as the probe says. One thread; uses libtorch's threads inside.
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/json_fwd.h"
#include "train/step.h"
#include "train/train_options.h"

namespace retort::train {

struct MeasureOptions {
  std::int64_t layers = 10;  // of the student
  std::int64_t vocabulary = 49152;
  std::int64_t steps = 12;  // the first two, which fetch memory and prepare kernels, don't count; at least 3
  TrainOptions train;       // tokens_per_step, signal, compute, optimiser_bits, …; `tokens` is set from the steps
};

struct TrainMeasurement {
  std::string compute_type;
  double tokens_per_s = 0;      // prompts included, padding excluded
  double gflops = 0;            // of matrix products, as the shapes say
  double gemm_peak_gflops = 0;  // measured on the block's shapes
  double share_of_peak = 0;
  std::int64_t peak_rss_bytes = 0;
  double signal_bytes_per_token = 0;  // supervised token, on disk; 0: online
  StepPhases phases;                  // seconds per 1,024 tokens
};

// Error (kCaller): a `compute` that isn't one; kWorld when memory runs out.
Result<TrainMeasurement> measure_training(const MeasureOptions& options, const Clock& clock);

Json to_json(const TrainMeasurement& measurement);

}  // namespace retort::train
