// How fast this machine trains: tokens/s of whole steps, share of the measured matrix-product speed, memory.
//
// Teacher and student have random weights and the shapes of SmolLM2-135M (30 layers, and as many as asked for), with
// documents of 64 to 256 tokens in rows of 256; or those of Llama 3.1 8B and Llama 3.2 1B, with documents of 512 to
// 2,048 tokens in rows of 2,048. All tokens but a document's first are supervised. What `retort bench train` prints.
// On a GPU the phases are of three further steps, each waited for: there work goes on while the next is being asked
// for. With a kept signal the teacher reads the documents once beforehand, which isn't timed, and is then gone.
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
  std::string shape = "135m";   // or "8b"
  std::int64_t layers = 0;      // of the student; 0: 10 of 30, or the 16 of Llama 3.2 1B
  std::int64_t vocabulary = 0;  // 0: the shape's own, 49,152 or 128,256
  std::int64_t steps = 12;      // the first two, which fetch memory and prepare kernels, don't count; at least 3
  TrainOptions train;           // tokens_per_step, signal, compute, optimiser_bits, …; `tokens` is set from the steps
};

struct TrainMeasurement {
  std::string compute_type;
  double tokens_per_s = 0;      // prompts included, padding excluded
  double gflops = 0;            // of matrix products, as the shapes say
  double gemm_peak_gflops = 0;  // measured on the block's shapes
  double share_of_peak = 0;
  std::int64_t peak_rss_bytes = 0;
  std::int64_t peak_device_bytes = 0;  // of a GPU's memory, by tensors; 0 on the processor
  double signal_bytes_per_token = 0;   // supervised token, on disk; 0: online
  StepPhases phases;                   // seconds per 1,024 tokens
};

// Error (kCaller): a `compute` that isn't one, or the shape 8b on a processor; kWorld when memory runs out.
Result<TrainMeasurement> measure_training(const MeasureOptions& options, const Clock& clock);

Json to_json(const TrainMeasurement& measurement);

}  // namespace retort::train
