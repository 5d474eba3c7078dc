#include "train/measure.h"

#include <torch/torch.h>

#include <utility>
#include <vector>

#include "base/json.h"
#include "base/random.h"
#include "model/compute_probe.h"
#include "model/decoder.h"
#include "train/lora.h"
#include "train/memory.h"
#include "train/step_plan.h"

namespace retort::train {
namespace {

constexpr std::int64_t kTeacherLayers = 30;
constexpr std::uint64_t kVocabulary = 49152;

model::DecoderConfig smollm2_config(std::int64_t layers) {
  model::DecoderConfig config;
  config.layers = layers;
  config.hidden = 576;
  config.heads = 9;
  config.kv_heads = 3;
  config.head_dim = 64;
  config.intermediate = 1536;
  config.vocabulary = static_cast<std::int64_t>(kVocabulary);
  config.context = 8192;
  config.rope_theta = 100000;
  config.tied_head = true;
  for (std::int64_t layer = 0; layer < layers; ++layer) config.source_layers.push_back(layer);
  return config;
}

Result<model::Decoder> random_decoder(std::int64_t layers, model::ComputeType compute) {
  const model::DecoderConfig config = smollm2_config(layers);
  std::vector<model::NamedTensor> tensors;
  for (const std::string& name : model::tensor_names(config)) {
    const auto shape = model::tensor_shape(config, name);
    tensors.push_back({name, shape.size() == 1 ? torch::ones(shape) : torch::randn(shape) * 0.04});
  }
  return model::Decoder::from_tensors(config, tensors, compute);
}

std::vector<dataset::Example> random_examples(std::int64_t tokens) {
  Random random(1);
  std::vector<dataset::Example> examples;
  for (std::int64_t sum = 0; sum < tokens;) {
    dataset::Example example;
    const std::size_t length = 64 + random.below(193);
    for (std::size_t i = 0; i < length; ++i) example.ids.push_back(static_cast<TokenId>(random.below(kVocabulary)));
    example.supervised.assign(length, 1);
    example.supervised[0] = 0;
    sum += static_cast<std::int64_t>(length);
    examples.push_back(std::move(example));
  }
  return examples;
}

}  // namespace

Result<TrainMeasurement> measure_training(const MeasureOptions& options, const Clock& clock) {
  RETORT_CHECK(options.steps >= 3 && options.layers >= 1);
  model::ComputeProbe probe = model::probe_compute({}, clock);
  if (options.train.compute == "bf16") probe.chosen = model::ComputeType::kBFloat16;
  if (options.train.compute == "fp32") probe.chosen = model::ComputeType::kFloat32;
  if (probe.onednn_float32) model::set_onednn_float32(true);
  RETORT_ASSIGN(const model::Decoder teacher, random_decoder(kTeacherLayers, probe.chosen));
  RETORT_ASSIGN(model::Decoder made, random_decoder(options.layers, model::ComputeType::kFloat32));
  std::optional<model::Decoder> student(std::move(made));
  TrainOptions train = options.train;
  train.tokens = train.tokens_per_step * (options.steps + 1);
  const std::vector<dataset::Example> examples = random_examples(train.tokens);
  StepPlan plan(examples, train);
  StepRunner runner(teacher, *student, train, clock);
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
  const double flops_per_token = (trains_adapters(train) ? 4.0 : 6.0) *
                                     static_cast<double>(matmul_parameter_count(smollm2_config(options.layers))) +
                                 2.0 * static_cast<double>(matmul_parameter_count(smollm2_config(kTeacherLayers)));
  result.gflops = result.tokens_per_s * flops_per_token * 1e-9;
  result.gemm_peak_gflops = probe.chosen_block_gflops;
  result.share_of_peak = result.gflops / probe.chosen_block_gflops;
  result.peak_rss_bytes = peak_memory_bytes();
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
          {"seconds_per_1024_tokens",
           {{"teacher", m.phases.teacher_s},
            {"student_forward", m.phases.forward_s},
            {"heads_and_loss", m.phases.head_s},
            {"backward", m.phases.backward_s},
            {"optimiser", m.phases.optimiser_s}}}};
}

}  // namespace retort::train
