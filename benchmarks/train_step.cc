// How fast the train module learns: tokens/s, share of the machine's measured matrix-product speed, peak memory.
//
//   train_step [--layers N] [--steps N] [--tokens-per-step N] [--compute bf16|fp32] [--json]
//
// Teacher and student have the shapes of SmolLM2-135M (30 and N layers) and random weights; documents of 64 to 256
// tokens, all supervised, are packed into rows of 256. benchmarks/pytorch_loop.py does the same work in PyTorch.
#include <sys/resource.h>
#include <torch/torch.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "model/compute_probe.h"
#include "model/decoder.h"
#include "train/memory.h"
#include "train/step.h"
#include "train/step_plan.h"

namespace {

using namespace retort;

struct Arguments {
  std::int64_t layers = 10;
  std::int64_t steps = 12;
  std::int64_t tokens_per_step = 1024;
  std::string compute;
  bool json = false;
};

bool parse(int argc, char** argv, Arguments& arguments) {
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--json") {
      arguments.json = true;
      continue;
    }
    if (i + 1 >= argc) return false;
    const char* value = argv[++i];
    if (name == "--layers") {
      arguments.layers = std::atoll(value);
    } else if (name == "--steps") {
      arguments.steps = std::atoll(value);
    } else if (name == "--tokens-per-step") {
      arguments.tokens_per_step = std::atoll(value);
    } else if (name == "--compute") {
      arguments.compute = value;
    } else {
      return false;
    }
  }
  return arguments.layers >= 1 && arguments.steps >= 3 && arguments.tokens_per_step >= 256;
}

model::DecoderConfig smollm2_config(std::int64_t layers) {
  model::DecoderConfig config;
  config.layers = layers;
  config.hidden = 576;
  config.heads = 9;
  config.kv_heads = 3;
  config.head_dim = 64;
  config.intermediate = 1536;
  config.vocabulary = 49152;
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
    for (std::size_t i = 0; i < length; ++i) example.ids.push_back(static_cast<TokenId>(random.below(49152)));
    example.supervised.assign(length, 1);
    example.supervised[0] = 0;
    sum += static_cast<std::int64_t>(length);
    examples.push_back(std::move(example));
  }
  return examples;
}

rusage usage() {
  rusage result{};
  getrusage(RUSAGE_SELF, &result);
  return result;
}

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
}

int run(const Arguments& arguments) {
  const SystemClock clock;
  model::ComputeProbe probe = model::probe_compute({}, clock);
  if (arguments.compute == "bf16") probe.chosen = model::ComputeType::kBFloat16;
  if (arguments.compute == "fp32") probe.chosen = model::ComputeType::kFloat32;
  if (probe.onednn_float32) model::set_onednn_float32(true);
  auto teacher = random_decoder(30, probe.chosen);
  auto student = random_decoder(arguments.layers, model::ComputeType::kFloat32);
  if (!teacher || !student) {
    std::fprintf(stderr, "train_step: %s\n", (teacher ? student.error() : teacher.error()).message.c_str());
    return 1;
  }
  train::TrainOptions options;
  options.tokens_per_step = arguments.tokens_per_step;
  options.tokens = arguments.tokens_per_step * (arguments.steps + 1);
  const auto examples = random_examples(options.tokens);
  train::StepPlan plan(examples, options);
  train::StepRunner runner(*teacher, *student, options, clock);
  student = caller_error("taken over");

  // The first two steps fetch memory and prepare kernels.
  std::int64_t tokens = 0;
  double begin_s = 0;
  rusage before{};
  train::StepPhases phases_before;
  for (std::size_t i = 0; i < plan.steps().size(); ++i) {
    if (i == 2) {
      begin_s = clock.monotonic_s();
      before = usage();
      phases_before = runner.phases();
    }
    if (!runner.step({plan.rows(i), {}}, 1e-4)) return 1;
    if (i >= 2) tokens += plan.steps()[i].tokens;
  }
  const double elapsed_s = clock.monotonic_s() - begin_s;
  const rusage after = usage();
  const train::StepPhases phases = runner.phases() - phases_before;
  const double tokens_per_s = static_cast<double>(tokens) / elapsed_s;
  const double flops_per_token = 6.0 * static_cast<double>(matmul_parameter_count(smollm2_config(arguments.layers))) +
                                 2.0 * static_cast<double>(matmul_parameter_count(smollm2_config(30)));
  const double gflops = tokens_per_s * flops_per_token * 1e-9;
  const double share = gflops / probe.chosen_block_gflops;
  const double per_1024 = 1024.0 / static_cast<double>(tokens);
  const std::string compute(name_of(probe.chosen));
  const double peak_gb = static_cast<double>(after.ru_maxrss) * 1024e-9;
  if (arguments.json) {
    std::printf(
        "{\"program\":\"retort\",\"compute\":\"%s\",\"layers\":%lld,\"tokens_per_s\":%.1f,\"gflops\":%.1f,"
        "\"gemm_gflops\":%.1f,\"share_of_gemm\":%.3f,\"peak_rss_bytes\":%lld}\n",
        compute.c_str(), static_cast<long long>(arguments.layers), tokens_per_s, gflops, probe.chosen_block_gflops,
        share, static_cast<long long>(after.ru_maxrss) * 1024);
    return 0;
  }
  std::printf(
      "retort, %s, %lld of 30 layers: %.0f tokens/s, %.0f GFLOP/s = %.0f %% of %.0f measured (head %.0f), peak %.2f "
      "GB\n",
      compute.c_str(), static_cast<long long>(arguments.layers), tokens_per_s, gflops, 100 * share,
      probe.chosen_block_gflops, probe.chosen_head_gflops, peak_gb);
  std::printf(
      "  s per 1,024 tokens: teacher %.3f, student forward %.3f, heads and loss %.3f, backward %.3f, optimiser %.3f\n",
      phases.teacher_s * per_1024, phases.forward_s * per_1024, phases.head_s * per_1024, phases.backward_s * per_1024,
      phases.optimiser_s * per_1024);
  std::printf("  processor s per 1,024 tokens: user %.3f, system %.3f; page faults %.0f\n",
              (seconds(after.ru_utime) - seconds(before.ru_utime)) * per_1024,
              (seconds(after.ru_stime) - seconds(before.ru_stime)) * per_1024,
              static_cast<double>(after.ru_minflt - before.ru_minflt) * per_1024);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  if (!parse(argc, argv, arguments)) {
    std::fprintf(stderr,
                 "usage: train_step [--layers N] [--steps N, >= 3] [--tokens-per-step N, >= 256] [--compute bf16|fp32] "
                 "[--json]\n");
    return 2;
  }
  if (std::getenv("RETORT_BENCH_PLAIN_MALLOC") == nullptr) train::keep_freed_memory();
  return run(arguments);
}
