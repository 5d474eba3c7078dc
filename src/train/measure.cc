#include "train/measure.h"

#include <torch/torch.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/progress.h"
#include "base/random.h"
#include "dataset/teacher_signal.h"
#include "model/compute_probe.h"
#include "model/decoder.h"
#include "train/cached_signal.h"
#include "train/lora.h"
#include "train/memory.h"
#include "train/step_plan.h"

namespace retort::train {
namespace {

constexpr std::int64_t kTeacherLayers = 30;

model::DecoderConfig smollm2_config(std::int64_t layers, std::int64_t vocabulary) {
  model::DecoderConfig config;
  config.layers = layers;
  config.hidden = 576;
  config.heads = 9;
  config.kv_heads = 3;
  config.head_dim = 64;
  config.intermediate = 1536;
  config.vocabulary = vocabulary;
  config.context = 8192;
  config.rope_theta = 100000;
  config.tied_head = true;
  for (std::int64_t layer = 0; layer < layers; ++layer) config.source_layers.push_back(layer);
  return config;
}

Result<model::Decoder> random_decoder(const model::DecoderConfig& config, model::ComputeType compute) {
  std::vector<model::NamedTensor> tensors;
  for (const std::string& name : model::tensor_names(config)) {
    const auto shape = model::tensor_shape(config, name);
    tensors.push_back({name, shape.size() == 1 ? torch::ones(shape) : torch::randn(shape) * 0.04});
  }
  return model::Decoder::from_tensors(config, tensors, compute);
}

std::vector<dataset::Example> random_examples(std::int64_t tokens, std::int64_t vocabulary) {
  Random random(1);
  std::vector<dataset::Example> examples;
  for (std::int64_t sum = 0; sum < tokens;) {
    dataset::Example example;
    const std::size_t length = 64 + random.below(193);
    for (std::size_t i = 0; i < length; ++i)
      example.ids.push_back(static_cast<TokenId>(random.below(static_cast<std::uint64_t>(vocabulary))));
    example.supervised.assign(length, 1);
    example.supervised[0] = 0;
    sum += static_cast<std::int64_t>(length);
    examples.push_back(std::move(example));
  }
  return examples;
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

}  // namespace

Result<TrainMeasurement> measure_training(const MeasureOptions& options, const Clock& clock) {
  RETORT_CHECK(options.steps >= 3 && options.layers >= 1);
  model::ComputeProbe probe = model::probe_compute({}, clock);
  if (options.train.compute == "bf16") probe.chosen = model::ComputeType::kBFloat16;
  if (options.train.compute == "fp32") probe.chosen = model::ComputeType::kFloat32;
  if (probe.onednn_float32) model::set_onednn_float32(true);
  const model::DecoderConfig teacher_config = smollm2_config(kTeacherLayers, options.vocabulary);
  const model::DecoderConfig student_config = smollm2_config(options.layers, options.vocabulary);
  RETORT_ASSIGN(model::Decoder teacher, random_decoder(teacher_config, probe.chosen));
  TrainOptions train = options.train;
  train.tokens = train.tokens_per_step * (options.steps + 1);
  const std::vector<dataset::Example> examples = random_examples(train.tokens, options.vocabulary);
  StepPlan plan(examples, train);
  const bool online = train.signal == "online";
  TemporarySignal signal;
  std::optional<CachedSignal> cached;
  if (!online) {
    RETORT_TRY(signal.write(teacher, examples, train));
    cached.emplace(&signal.file(), examples, train.max_length);
    teacher.forget_blocks();
  }
  RETORT_ASSIGN(model::Decoder made, random_decoder(student_config, model::ComputeType::kFloat32));
  std::optional<model::Decoder> student(std::move(made));
  StepRunner runner(teacher, *student, train, clock, nullptr, nullptr, cached ? &*cached : nullptr);
  student.reset();  // its memory is the runner's now

  std::int64_t tokens = 0;
  double begin_s = 0;
  StepPhases before;
  const std::size_t steps = std::min(plan.steps().size(), static_cast<std::size_t>(options.steps));
  for (std::size_t i = 0; i < steps; ++i) {
    if (i == 2) {
      begin_s = clock.monotonic_s();
      before = runner.phases();
    }
    RETORT_ASSIGN(const StepResult done, runner.step({plan.rows(i), {}}, 1e-4));
    static_cast<void>(done);
    if (i >= 2) tokens += plan.steps()[i].tokens;
  }
  const double elapsed_s = clock.monotonic_s() - begin_s;
  TrainMeasurement result;
  result.compute_type = name_of(probe.chosen);
  result.tokens_per_s = static_cast<double>(tokens) / elapsed_s;
  const double flops_per_token =
      (trains_adapters(train) ? 4.0 : 6.0) * static_cast<double>(matmul_parameter_count(student_config)) +
      (online ? 2.0 * static_cast<double>(matmul_parameter_count(teacher_config)) : 0.0);
  result.gflops = result.tokens_per_s * flops_per_token * 1e-9;
  result.gemm_peak_gflops = probe.chosen_block_gflops;
  result.share_of_peak = result.gflops / probe.chosen_block_gflops;
  result.peak_rss_bytes = peak_memory_bytes();
  if (!online) {
    std::int64_t targets = 0;
    for (const dataset::Example& example : examples) targets += dataset::target_count(example, train.max_length);
    result.signal_bytes_per_token = static_cast<double>(signal.bytes()) / static_cast<double>(targets);
  }
  const double per_1024 = 1024.0 / static_cast<double>(tokens);
  const StepPhases spent = runner.phases() - before;
  result.phases = {spent.teacher_s * per_1024, spent.forward_s * per_1024, spent.head_s * per_1024,
                   spent.backward_s * per_1024, spent.optimiser_s * per_1024};
  return result;
}

Json to_json(const TrainMeasurement& m) {
  return {{"tokens_per_s", m.tokens_per_s},
          {"peak_rss_bytes", m.peak_rss_bytes},
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
