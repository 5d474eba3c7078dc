#include "train/measure.h"

#include <unistd.h>

#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/progress.h"
#include "dataset/teacher_signal.h"
#include "model/compute_probe.h"
#include "model/decoder.h"
#include "train/cached_signal.h"
#include "train/lora.h"
#include "train/memory.h"
#include "train/random_model.h"
#include "train/step_plan.h"

namespace retort::train {
namespace {

struct MeasuredShape {
  model::DecoderConfig teacher, student;
  std::size_t shortest = 0, longest = 0;  // document, tokens
};

model::DecoderConfig smollm2_135m() {
  model::DecoderConfig config;
  config.hidden = 576;
  config.heads = 9;
  config.kv_heads = 3;
  config.head_dim = 64;
  config.intermediate = 1536;
  config.vocabulary = 49152;
  config.context = 8192;
  config.rope_theta = 100000;
  config.tied_head = true;
  return config;
}

model::DecoderConfig llama_8b() {
  model::DecoderConfig config;
  config.hidden = 4096;
  config.heads = 32;
  config.kv_heads = 8;
  config.head_dim = 128;
  config.intermediate = 14336;
  config.vocabulary = 128256;
  config.context = 131072;
  config.rope_theta = 500000;
  config.tied_head = false;
  return config;
}

model::DecoderConfig llama_1b() {
  model::DecoderConfig config = llama_8b();
  config.hidden = 2048;
  config.head_dim = 64;
  config.intermediate = 8192;
  config.tied_head = true;
  return config;
}

MeasuredShape shape_of(const MeasureOptions& options) {
  MeasuredShape shape;
  if (options.shape == "8b") {
    shape = {with_layers(llama_8b(), 32), with_layers(llama_1b(), options.layers > 0 ? options.layers : 16), 512, 2048};
  } else {
    shape = {with_layers(smollm2_135m(), 30), with_layers(smollm2_135m(), options.layers > 0 ? options.layers : 10), 64,
             256};
  }
  if (options.vocabulary > 0) shape.teacher.vocabulary = shape.student.vocabulary = options.vocabulary;
  return shape;
}

// What the teacher says of the examples, in a file that is gone when this is.
class TemporarySignal {
 public:
  Result<void> write(const model::Decoder& teacher, std::span<const dataset::Example> examples,
                     const TrainOptions& options) {
    path_ = std::filesystem::temp_directory_path() / ("retort-bench-" + std::to_string(::getpid()) + ".signal");
    const auto kind = options.signal == "top_k" ? dataset::SignalKind::kTopK : dataset::SignalKind::kSampled;
    const dataset::SignalHeader header = signal_header(examples, options, kind, teacher.config().vocabulary);
    SilentProgress silent;
    RETORT_TRY(write_signal(teacher, examples, options, header, path_, silent, {}));
    RETORT_ASSIGN(file_, dataset::SignalFile::open(path_));
    return {};
  }
  ~TemporarySignal() {
    std::error_code error;
    if (!path_.empty()) std::filesystem::remove(path_, error);
  }
  TemporarySignal() = default;
  TemporarySignal(const TemporarySignal&) = delete;
  TemporarySignal& operator=(const TemporarySignal&) = delete;
  const dataset::SignalFile& file() const { return *file_; }
  std::int64_t bytes() const {
    std::error_code error;
    return static_cast<std::int64_t>(std::filesystem::file_size(path_, error));
  }

 private:
  std::filesystem::path path_;
  std::optional<dataset::SignalFile> file_;
};

// How it is computed, and what the fastest products of that type reach.
struct Computing {
  model::ComputeType type = model::ComputeType::kFloat32;
  model::Backend backend = model::Backend::kKernels;
  double peak_gflops = 0;
};

Result<Computing> choose(const TrainOptions& train, const model::DecoderConfig& teacher, const Clock& clock) {
  Computing computing;
  RETORT_ASSIGN(computing.backend, model::choose_backend(train.device));
  if (computing.backend == model::Backend::kCuda) {
    computing.type = train.compute == "fp32" ? model::ComputeType::kFloat32 : model::ComputeType::kBFloat16;
    const model::ProbeShape shape = {train.micro_batch_tokens, teacher.hidden, teacher.intermediate,
                                     teacher.vocabulary};
    RETORT_ASSIGN(const model::GemmSpeed speed, model::gemm_speed_on_cuda(shape, computing.type, clock));
    computing.peak_gflops = speed.block_gflops;
    return computing;
  }
  const model::ComputeProbe probe = model::probe_compute({}, clock);
  computing.type = probe.chosen;
  if (train.compute == "bf16") computing.type = model::ComputeType::kBFloat16;
  if (train.compute == "fp32") computing.type = model::ComputeType::kFloat32;
  if (probe.onednn_float32) model::set_onednn_float32(true);
  computing.peak_gflops = probe.chosen_block_gflops;
  return computing;
}

Result<TrainMeasurement> measure(const MeasureOptions& options, const Computing& computing, const Clock& clock) {
  const MeasuredShape shape = shape_of(options);
  TrainOptions train = options.train;
  const bool on_gpu = computing.backend == model::Backend::kCuda;
  train.max_length = static_cast<std::int64_t>(shape.longest);
  const std::int64_t waited_for = on_gpu ? 3 : 0;
  train.tokens = train.tokens_per_step * (options.steps + waited_for + 1);
  RETORT_ASSIGN(model::Decoder teacher, random_decoder(shape.teacher, computing.type, computing.backend));
  const std::vector<dataset::Example> examples =
      random_examples(train.tokens, shape.teacher.vocabulary, shape.shortest, shape.longest);
  StepPlan plan(examples, train);
  const bool online = train.signal == "online";
  TemporarySignal signal;
  std::optional<CachedSignal> cached;
  if (!online) {
    RETORT_TRY(signal.write(teacher, examples, train));
    cached.emplace(&signal.file(), examples, train.max_length);
    teacher.forget_blocks();
  }
  RETORT_ASSIGN(model::Decoder made,
                random_decoder(shape.student, model::ComputeType::kFloat32, model::Backend::kKernels));
  StepRunner runner(teacher, std::move(made), train, clock, nullptr, nullptr, cached ? &*cached : nullptr);
  release_memory();  // what the probe and the making of random weights had

  // The first two steps fetch memory and prepare kernels.
  const std::size_t steps = std::min(plan.steps().size(), static_cast<std::size_t>(options.steps));
  const auto run = [&](std::size_t first, std::size_t last) -> Result<std::int64_t> {
    std::int64_t tokens = 0;
    for (std::size_t i = first; i < last; ++i) {
      RETORT_ASSIGN(const StepResult done, runner.step({plan.rows(i), {}}, 1e-4));
      static_cast<void>(done);
      tokens += plan.steps()[i].tokens;
    }
    model::wait_for(computing.backend);
    return tokens;
  };
  RETORT_TRY(run(0, 2));
  StepPhases before = runner.phases();
  const double begin_s = clock.monotonic_s();
  RETORT_ASSIGN(const std::int64_t tokens, run(2, steps));
  const double elapsed_s = clock.monotonic_s() - begin_s;
  std::int64_t phased_tokens = tokens;
  if (on_gpu) {
    runner.wait_in_every_phase(true);
    before = runner.phases();
    RETORT_ASSIGN(phased_tokens,
                  run(steps, std::min(plan.steps().size(), steps + static_cast<std::size_t>(waited_for))));
  }
  TrainMeasurement result;
  result.compute_type = name_of(computing.type);
  result.tokens_per_s = static_cast<double>(tokens) / elapsed_s;
  const double flops_per_token =
      (trains_adapters(train) ? 4.0 : 6.0) * static_cast<double>(matmul_parameter_count(shape.student)) +
      (online ? 2.0 * static_cast<double>(matmul_parameter_count(shape.teacher)) : 0.0);
  result.gflops = result.tokens_per_s * flops_per_token * 1e-9;
  result.gemm_peak_gflops = computing.peak_gflops;
  result.share_of_peak = result.gflops / computing.peak_gflops;
  result.peak_rss_bytes = peak_memory_bytes();
  result.peak_device_bytes = model::peak_device_memory_bytes(computing.backend);
  if (!online) {
    std::int64_t targets = 0;
    for (const dataset::Example& example : examples) targets += dataset::target_count(example, train.max_length);
    result.signal_bytes_per_token = static_cast<double>(signal.bytes()) / static_cast<double>(targets);
  }
  const double per_1024 = 1024.0 / static_cast<double>(std::max<std::int64_t>(1, phased_tokens));
  const StepPhases spent = runner.phases() - before;
  result.phases = {spent.teacher_s * per_1024, spent.forward_s * per_1024, spent.head_s * per_1024,
                   spent.backward_s * per_1024, spent.optimiser_s * per_1024};
  return result;
}

}  // namespace

Result<TrainMeasurement> measure_training(const MeasureOptions& options, const Clock& clock) {
  RETORT_CHECK(options.steps >= 3);
  RETORT_ASSIGN(const Computing computing, choose(options.train, shape_of(options).teacher, clock));
  if (options.shape == "8b" && computing.backend != model::Backend::kCuda) {
    return caller_error(
        "The shape 8b is for a GPU: on a processor a step would take minutes, and its weights more "
        "memory than most have. Measure the shape 135m here.");
  }
  Result<TrainMeasurement> result = measure(options, computing, clock);
  model::release_device_memory(computing.backend);  // peers may be measured next
  return result;
}

Json to_json(const TrainMeasurement& m) {
  return {{"tokens_per_s", m.tokens_per_s},
          {"peak_rss_bytes", m.peak_rss_bytes},
          {"peak_device_bytes", m.peak_device_bytes},
          {"gflops", m.gflops},
          {"gemm_peak_gflops", m.gemm_peak_gflops},
          {"share_of_peak", m.share_of_peak},
          {"compute_type", m.compute_type},
          {"signal_bytes_per_token", m.signal_bytes_per_token},
          {"seconds_per_1024_tokens",
           {{"teacher", m.phases.teacher_s},
            {"student_forward", m.phases.forward_s},
            {"heads_and_loss", m.phases.head_s},
            {"backward", m.phases.backward_s},
            {"optimiser", m.phases.optimiser_s}}}};
}

}  // namespace retort::train
