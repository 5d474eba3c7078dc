// Where training computes, and in which type: as the recipe says; else on a GPU where there is one, or in what a short
// probe found faster on this processor, once (pipeline/machine_memory.h): runs with one seed compute alike.
//
// One caller at a time; sets libtorch's process-wide settings accordingly. No libtorch in this header.
#pragma once

#include <filesystem>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "model/backend.h"
#include "model/compute_probe.h"
#include "model/decoder_config.h"

namespace retort::pipeline {

struct ComputeChoice {
  model::ComputeType type = model::ComputeType::kFloat32;
  model::Backend backend = model::Backend::kKernels;
  bool onednn_float32 = false;
  std::string reason;
  double block_gflops = 0;  // 0: not probed
  double head_gflops = 0;
};

model::ProbeShape probe_shape(const model::DecoderConfig& config);

// `wanted`: "auto", "bf16" or "fp32" (recipe key train.compute); `device`: "auto", "cpu" or "cuda" (train.device).
// Error (kCaller): CUDA is asked for and can't be had.
Result<ComputeChoice> choose_compute(const std::string& wanted, const std::string& device,
                                     const model::DecoderConfig& config, const std::filesystem::path& cache_folder,
                                     const Clock& clock);
// Takes the choice into use in this process.
void use(const ComputeChoice& choice);

Json to_json(const ComputeChoice& choice);
Result<ComputeChoice> compute_choice_from_json(const Json& json, const std::string& what);

}  // namespace retort::pipeline
