#include "pipeline/compute_choice.h"

#include <torch/version.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "pipeline/machine_memory.h"

namespace retort::pipeline {
namespace {

Json to_json(const model::ComputeProbe& probe) {
  Json speeds = Json::array();
  for (const model::GemmSpeed& speed : probe.speeds) speeds.push_back(to_json(speed));
  return {{"chosen", model::name_of(probe.chosen)},
          {"onednn_float32", probe.onednn_float32},
          {"threads", probe.threads},
          {"reason", probe.reason},
          {"block_gflops", probe.chosen_block_gflops},
          {"head_gflops", probe.chosen_head_gflops},
          {"speeds", std::move(speeds)}};
}

Result<model::ComputeProbe> probe_from_json(const Json& json, const std::string& what) {
  model::ComputeProbe probe;
  RETORT_ASSIGN(const std::string chosen, member<std::string>(json, "chosen", what));
  RETORT_ASSIGN(probe.chosen, model::compute_type_from_name(chosen));
  RETORT_ASSIGN(probe.onednn_float32, member<bool>(json, "onednn_float32", what));
  RETORT_ASSIGN(probe.threads, member<int>(json, "threads", what));
  RETORT_ASSIGN(probe.reason, member<std::string>(json, "reason", what));
  RETORT_ASSIGN(probe.chosen_block_gflops, member<double>(json, "block_gflops", what));
  RETORT_ASSIGN(probe.chosen_head_gflops, member<double>(json, "head_gflops", what));
  for (const Json& entry : json.value("speeds", Json::array())) {
    model::GemmSpeed speed;
    RETORT_ASSIGN(speed.name, member<std::string>(entry, "name", what));
    RETORT_ASSIGN(speed.block_gflops, member<double>(entry, "block_gflops", what));
    RETORT_ASSIGN(speed.head_gflops, member<double>(entry, "head_gflops", what));
    RETORT_ASSIGN(speed.relative_error, member<double>(entry, "relative_error", what));
    probe.speeds.push_back(std::move(speed));
  }
  return probe;
}

// Measured on this machine, once for each shape.
model::ComputeProbe probe_once(const model::ProbeShape& shape, const std::filesystem::path& cache_folder,
                               const Clock& clock) {
  const MachineMemory memory(cache_folder, {{"measured", "matrix products"},
                                            {"version", 2},  // 1 compared products of few rows alone
                                            {"libtorch", TORCH_VERSION},
                                            {"threads", model::compute_threads()},
                                            {"rows", shape.rows},
                                            {"hidden", shape.hidden},
                                            {"intermediate", shape.intermediate},
                                            {"vocabulary", shape.vocabulary}});
  if (const std::optional<Json> known = memory.recall()) {
    if (auto probe = probe_from_json(*known, "the cache")) return std::move(*probe);
  }
  const model::ComputeProbe measured = model::probe_compute(shape, clock);
  return probe_from_json(memory.keep(to_json(measured)), "the cache").value_or(measured);
}

}  // namespace

model::ProbeShape probe_shape(const model::DecoderConfig& config) {
  // Not so small that calling costs more than computing.
  model::ProbeShape shape;
  shape.hidden = std::max<std::int64_t>(config.hidden, 256);
  shape.intermediate = std::max<std::int64_t>(config.intermediate, 512);
  shape.vocabulary = std::max<std::int64_t>(config.vocabulary, 4096);
  return shape;
}

Result<ComputeChoice> choose_compute(const std::string& wanted, const std::string& device,
                                     const model::DecoderConfig& config, const std::filesystem::path& cache_folder,
                                     const Clock& clock) {
  ComputeChoice choice;
  RETORT_ASSIGN(choice.backend, model::choose_backend(device));
  if (choice.backend == model::Backend::kCuda) {
    choice.type = wanted == "fp32" ? model::ComputeType::kFloat32 : model::ComputeType::kBFloat16;
    RETORT_ASSIGN(const model::GemmSpeed speed, model::gemm_speed_on_cuda(probe_shape(config), choice.type, clock));
    choice.block_gflops = speed.block_gflops;
    choice.head_gflops = speed.head_gflops;
    const Result<void> kernels = model::open_cuda_kernels();
    choice.reason = "A CUDA device computes in " + std::string(model::name_of(choice.type)) + ", at " +
                    std::to_string(std::llround(speed.block_gflops)) + " GFLOP/s" +
                    (kernels ? "." : "; by libtorch's operations alone, since " + kernels.error().message);
    return choice;
  }
  const model::ComputeProbe probe = probe_once(probe_shape(config), cache_folder, clock);
  choice.type = probe.chosen;
  choice.onednn_float32 = probe.onednn_float32;
  choice.reason = probe.reason;
  choice.block_gflops = probe.chosen_block_gflops;
  choice.head_gflops = probe.chosen_head_gflops;
  if (wanted == "auto") return choice;
  const auto type = wanted == "bf16" ? model::ComputeType::kBFloat16 : model::ComputeType::kFloat32;
  if (type != choice.type) {
    choice.type = type;
    choice.reason = "The recipe asks for " + wanted + ", though the probe found: " + probe.reason;
    const bool through_onednn = type == model::ComputeType::kFloat32 && choice.onednn_float32;
    const std::string taken = std::string(model::name_of(type)) + (through_onednn ? " (oneDNN)" : "");
    for (const model::GemmSpeed& speed : probe.speeds) {
      if (speed.name == taken) {
        choice.block_gflops = speed.block_gflops;
        choice.head_gflops = speed.head_gflops;
      }
    }
  }
  return choice;
}

void use(const ComputeChoice& choice) {
  model::set_compute_threads(0);
  model::set_onednn_float32(choice.onednn_float32);
}

Json to_json(const ComputeChoice& choice) {
  return {{"type", model::name_of(choice.type)},     {"device", model::name_of(choice.backend)},
          {"onednn_float32", choice.onednn_float32}, {"reason", choice.reason},
          {"block_gflops", choice.block_gflops},     {"head_gflops", choice.head_gflops}};
}

Result<ComputeChoice> compute_choice_from_json(const Json& json, const std::string& what) {
  ComputeChoice choice;
  RETORT_ASSIGN(const std::string type, member<std::string>(json, "type", what));
  RETORT_ASSIGN(choice.type, model::compute_type_from_name(type));
  // Runs of older versions computed on the processor and didn't say so.
  if (json.value("device", "cpu") == "cuda") {
    RETORT_ASSIGN(choice.backend, model::choose_backend("cuda"));
  }
  RETORT_ASSIGN(choice.onednn_float32, member<bool>(json, "onednn_float32", what));
  RETORT_ASSIGN(choice.reason, member<std::string>(json, "reason", what));
  RETORT_ASSIGN(choice.block_gflops, member<double>(json, "block_gflops", what));
  RETORT_ASSIGN(choice.head_gflops, member<double>(json, "head_gflops", what));
  return choice;
}

}  // namespace retort::pipeline
