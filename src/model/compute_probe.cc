#include "model/compute_probe.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <algorithm>
#include <cstdio>
#include <thread>

#include "base/json.h"
#include "model/backend.h"

namespace retort::model {

namespace {

constexpr double kBudgetPerProduct_s = 0.12;
// FP32 products of this model's widths differ from FP64 by about 1e-6; bf16 ones by 3e-3.
constexpr double kFloat32Error = 2e-5;
// A switch must pay for itself beyond the noise of so short a measurement.
constexpr double kWorthSwitching = 1.1;

double gflops(const torch::Tensor& rows, const torch::Tensor& weight, const Clock& clock) {
  const double operations =
      2.0 * static_cast<double>(rows.size(0)) * static_cast<double>(rows.size(1)) * static_cast<double>(weight.size(0));
  torch::Tensor product = torch::empty({rows.size(0), weight.size(0)}, rows.options());
  at::mm_out(product, rows, weight.t());  // chooses and compiles the kernel
  double best_s = 1e30;
  const double start = clock.monotonic_s();
  double now = start;
  do {
    at::mm_out(product, rows, weight.t());
    const double after = clock.monotonic_s();
    best_s = std::min(best_s, after - now);
    now = after;
  } while (now - start < kBudgetPerProduct_s && now > start);
  return operations / std::max(best_s, 1e-9) * 1e-9;
}

double relative_error(const torch::Tensor& rows, const torch::Tensor& weight) {
  const auto exact = at::mm(rows.to(torch::kFloat64), weight.to(torch::kFloat64).t());
  const auto product = at::mm(rows, weight.t()).to(torch::kFloat64);
  return ((product - exact).abs().max() / exact.abs().max()).item<double>();
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.0f", value);
  return text;
}

// Seconds for one product of each kind: what a step is made of, roughly.
double blended(const GemmSpeed& speed) { return 2.0 / (1.0 / speed.block_gflops + 1.0 / speed.head_gflops); }

}  // namespace

void set_compute_threads(int threads) {
  if (threads <= 0) threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  at::set_num_threads(threads);
}

int compute_threads() { return at::get_num_threads(); }

void set_onednn_float32(bool enabled) { at::globalContext().setFloat32MatmulPrecision(enabled ? "medium" : "highest"); }

OnednnFloat32::OnednnFloat32(bool enabled) {
  using at::Float32MatmulPrecision;
  const Float32MatmulPrecision before = at::globalContext().float32MatmulPrecision();
  before_ = before == Float32MatmulPrecision::HIGHEST ? "highest"
            : before == Float32MatmulPrecision::HIGH  ? "high"
                                                      : "medium";
  set_onednn_float32(enabled);
}

OnednnFloat32::~OnednnFloat32() { at::globalContext().setFloat32MatmulPrecision(before_); }

Json to_json(const GemmSpeed& speed) {
  return {{"name", speed.name},
          {"block_gflops", speed.block_gflops},
          {"head_gflops", speed.head_gflops},
          {"relative_error", speed.relative_error}};
}

Result<GemmSpeed> gemm_speed_on_cuda(const ProbeShape& shape, ComputeType type, const Clock& clock) {
  const torch::NoGradGuard no_gradient;
  const auto options =
      torch::TensorOptions(type == ComputeType::kBFloat16 ? torch::kBFloat16 : torch::kFloat32).device(torch::kCUDA);
  const auto measure = [&](std::int64_t columns) {
    constexpr int kProducts = 20;
    const torch::Tensor rows = torch::randn({shape.rows, shape.hidden}, options);
    const torch::Tensor weight = torch::randn({columns, shape.hidden}, options);
    double best_s = 1e30;
    for (int round = 0; round < 4; ++round) {  // the first prepares
      wait_for(Backend::kCuda);
      const double start_s = clock.monotonic_s();
      for (int i = 0; i < kProducts; ++i) at::mm(rows, weight.t());
      wait_for(Backend::kCuda);
      if (round > 0) best_s = std::min(best_s, clock.monotonic_s() - start_s);
    }
    return 2e-9 * kProducts * static_cast<double>(shape.rows) * static_cast<double>(shape.hidden) *
           static_cast<double>(columns) / best_s;
  };
  try {
    return GemmSpeed{std::string(name_of(type)), measure(shape.intermediate), measure(shape.vocabulary), 0};
  } catch (const c10::Error& error) {
    return world_error("The GPU can't be computed on: " + std::string(error.what_without_backtrace()) +
                       " Free its memory, or set train.device to cpu.");
  }
}

ComputeProbe probe_compute(const ProbeShape& shape, const Clock& clock) {
  const torch::NoGradGuard no_gradient;
  ComputeProbe probe;
  probe.threads = compute_threads();
  // Values don't matter for the speed, only that they are ordinary numbers.
  const auto values = [](std::int64_t rows, std::int64_t columns) {
    const auto index = torch::arange(rows * columns, torch::kFloat32).view({rows, columns});
    return (index * 0.7548777F).sin();
  };
  const std::int64_t head_rows = std::min<std::int64_t>(shape.rows, 256);
  const std::int64_t head_columns = std::min<std::int64_t>(shape.vocabulary, 16384);  // a slice shows the same speed
  const torch::Tensor rows = values(shape.rows, shape.hidden);
  const torch::Tensor block = values(shape.intermediate, shape.hidden);
  const torch::Tensor head = values(head_columns, shape.hidden);
  const auto measure = [&](const std::string& name, torch::Dtype type) {
    GemmSpeed speed;
    speed.name = name;
    const torch::Tensor typed = rows.to(type);
    speed.block_gflops = gflops(typed, block.to(type), clock);
    speed.head_gflops = gflops(typed.narrow(0, 0, head_rows), head.to(type), clock);
    // Of all rows: oneDNN computes products of few otherwise than those of many.
    speed.relative_error = relative_error(typed, block.to(type));
    return speed;
  };
  {
    const OnednnFloat32 plain(false);
    probe.speeds.push_back(measure("float32", torch::kFloat32));
  }
  {
    const OnednnFloat32 onednn(true);
    probe.speeds.push_back(measure("float32 (oneDNN)", torch::kFloat32));
  }
  probe.speeds.push_back(measure("bfloat16", torch::kBFloat16));

  const GemmSpeed& plain = probe.speeds[0];
  const GemmSpeed& onednn = probe.speeds[1];
  const GemmSpeed& half = probe.speeds[2];
  // By exactness alone: the two sum in another order, and a busy moment (a factor of ten in so short a measurement)
  // must not decide which bits the same seed gives.
  probe.onednn_float32 = onednn.relative_error < kFloat32Error;
  const GemmSpeed& single = probe.onednn_float32 ? onednn : plain;
  probe.chosen = blended(half) > kWorthSwitching * blended(single) ? ComputeType::kBFloat16 : ComputeType::kFloat32;
  const GemmSpeed& chosen = probe.chosen == ComputeType::kBFloat16 ? half : single;
  probe.chosen_block_gflops = chosen.block_gflops;
  probe.chosen_head_gflops = chosen.head_gflops;
  probe.reason = std::string(name_of(probe.chosen)) + ": measured " + number(half.block_gflops) +
                 " GFLOP/s in bfloat16 (head " + number(half.head_gflops) + "), " + number(single.block_gflops) +
                 " in float32 (head " + number(single.head_gflops) + ") with " + std::to_string(probe.threads) +
                 (probe.threads == 1 ? " thread." : " threads.");
  return probe;
}

}  // namespace retort::model
