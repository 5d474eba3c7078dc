#include "model/layer_fit.h"

#include <torch/torch.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "base/json.h"
#include "model/compute_probe.h"

namespace retort::model {

namespace {

// Tokens that are computed together.
constexpr std::int64_t kChunkTokens = 2048;
// A layer nearer to its target than rounding can tell is left as it is.
constexpr double kExact = 1e-4;

// A stretch of the text on its way through both models.
struct Chunk {
  Decoder::Layout teacher_layout, student_layout;
  // Written over layer by layer: blocks of memory that long-lived ones come and go between don't fit together again.
  torch::Tensor teacher_state, student_state;  // [n, hidden], compute type
  torch::Tensor activated;                     // [n, intermediate], of the student's layer at hand
};

Result<std::vector<Chunk>> chunks_of(const Decoder& teacher, const Decoder& student,
                                     std::span<const MeasuredSequence> sequences, std::int64_t max_tokens,
                                     std::int64_t& tokens) {
  std::vector<Chunk> chunks;
  tokens = 0;
  for (std::size_t begin = 0; begin < sequences.size() && tokens + 1 < max_tokens;) {
    std::size_t end = begin;
    std::int64_t length = 0;
    while (end < sequences.size() && (end == begin || length < kChunkTokens)) {
      length += static_cast<std::int64_t>(sequences[end++].ids.size());
    }
    const auto part = sequences.subspan(begin, end - begin);
    begin = end;
    if (std::all_of(part.begin(), part.end(), [](const auto& sequence) { return sequence.ids.size() < 2; })) continue;
    RETORT_ASSIGN(const PackedText text, pack_text(part, student.config(), max_tokens - tokens));
    const torch::Tensor ids = text.batch.ids.reshape({-1});
    Chunk chunk{teacher.layout(text.batch), student.layout(text.batch), teacher.embed(ids), student.embed(ids), {}};
    chunk.activated = torch::empty({ids.numel(), student.config().intermediate}, chunk.student_state.options());
    chunks.push_back(std::move(chunk));
    tokens += ids.numel();
  }
  if (chunks.empty())
    return caller_error("The student's layers can't be fitted without exchanges. Collect some first.");
  return chunks;
}

// 1 / |t|^2 of each token, [n, 1] FP32.
torch::Tensor weights_of(const torch::Tensor& target) {
  return target.to(torch::kFloat32).square().sum(1, true).clamp_min_(1e-12).reciprocal_();
}

double weighted_error(const torch::Tensor& difference, const torch::Tensor& weights) {
  return (difference.square().sum(1, true) * weights).sum(torch::kFloat64).item<double>();
}

// Of so many chunks the products are summed in FP32, where they are made; those sums in FP64, a pass over memory each.
constexpr int kChunksOfPart = 8;

// A sum of products, in FP64 on the processor: a CUDA libtorch has its solvers in libraries of their own.
class ProductSum {
 public:
  void add(const torch::Tensor& a, const torch::Tensor& b) {
    if (products_ == 0) {
      part_ = at::mm(a, b);
    } else {
      part_.addmm_(a, b);
    }
    if (++products_ == kChunksOfPart) settle();
  }
  torch::Tensor take() {
    if (products_ > 0) settle();
    return std::move(sum_);
  }

 private:
  void settle() {
    const torch::Tensor wide = part_.to(torch::kCPU, torch::kFloat64);
    if (sum_.defined()) {
      sum_.add_(wide);
    } else {
      sum_ = wide;
    }
    products_ = 0;
  }

  torch::Tensor part_, sum_;
  int products_ = 0;
};

// The normal equations of one layer.
struct Equations {
  ProductSum gram;   // [intermediate, intermediate]
  ProductSum cross;  // [intermediate, hidden]
  double error = 0;  // sum over tokens

  void add(const torch::Tensor& teacher_state, const torch::Tensor& student_state, const torch::Tensor& activated) {
    const torch::Tensor weights = weights_of(teacher_state);
    const torch::Tensor missing = teacher_state.to(torch::kFloat32) - student_state.to(torch::kFloat32);
    error += weighted_error(missing, weights);
    const torch::Tensor channels = activated.to(torch::kFloat32);
    const torch::Tensor weighted = (channels * weights).t();
    gram.add(weighted, channels);
    cross.add(weighted, missing);
  }

  // What is to be added to ffn_down, transposed: [intermediate, hidden] FP64; undefined where sums aren't finite.
  torch::Tensor solution(double ridge) {
    const torch::Tensor sum = gram.take();
    sum.diagonal().add_(sum.diagonal().mean() * ridge + 1e-12);
    const auto [factor, info] = at::linalg_cholesky_ex(sum);
    if (info.item<int>() != 0) return {};
    torch::Tensor solved = at::cholesky_solve(cross.take(), factor);
    return at::isfinite(solved).all().item<bool>() ? solved : torch::Tensor();
  }
};

// Sums of so many tokens don't mind channels that are BF16 to be rounded to it once more when they are weighted, and
// AMX multiplies them three times as fast.
class SumPrecision {
 public:
  SumPrecision(ComputeType compute, Backend backend) {
    if (compute == ComputeType::kBFloat16 && backend == Backend::kKernels) rounded_.emplace(true);
  }

 private:
  std::optional<OnednnFloat32> rounded_;
};

// Of a layer's sums over so many tokens.
double sum_flops(double tokens, double channels, double hidden) { return 2 * tokens * channels * (channels + hidden); }

// Cholesky's factor, and two triangular solutions.
double solve_flops(double channels, double hidden) {
  return channels * channels * channels / 3 + 2 * channels * channels * hidden;
}

torch::Tensor down_of(const Decoder& decoder, std::int64_t layer) {
  const std::string name = "blk." + std::to_string(layer) + ".ffn_down.weight";
  for (auto& parameter : decoder.named_parameters()) {
    if (parameter.name == name) return parameter.tensor;
  }
  RETORT_CHECK(false);
  return {};
}

}  // namespace

Result<LayerFit> fit_layers(const Decoder& teacher, Decoder& student, std::span<const MeasuredSequence> sequences,
                            const LayerFitOptions& options, Progress& progress, std::stop_token stop) {
  RETORT_CHECK(student.compute_type() == ComputeType::kFloat32);
  if (!is_cut_of(student.config(), teacher.config())) {
    return caller_error("Only a student that was cut from a model can be fitted to what that model's layers give.");
  }
  const torch::NoGradGuard no_gradient;
  const SumPrecision precision(teacher.compute_type(), teacher.backend());
  const Decoder working = student.clone(teacher.compute_type(), teacher.backend());
  LayerFit fit;
  RETORT_ASSIGN(std::vector<Chunk> chunks, chunks_of(teacher, working, sequences, options.max_tokens, fit.tokens));
  const auto tokens = static_cast<double>(fit.tokens);
  const auto& sources = student.config().source_layers;
  const std::int64_t layers = student.config().layers;
  progress.begin("fit layers", static_cast<double>(layers), "layers");
  std::int64_t teacher_layer = 0;
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    const std::int64_t target =
        layer + 1 < layers ? sources[static_cast<std::size_t>(layer) + 1] : teacher.config().layers;
    Equations equations;
    for (Chunk& chunk : chunks) {
      if (stop.stop_requested()) return interrupted("The fit of the student's layers was stopped.");
      for (std::int64_t i = teacher_layer; i < target; ++i) {
        chunk.teacher_state.copy_(teacher.apply_block(i, chunk.teacher_state, chunk.teacher_layout));
      }
      torch::Tensor activated;
      chunk.student_state.copy_(working.apply_block(layer, chunk.student_state, chunk.student_layout, &activated));
      chunk.activated.copy_(activated);
      equations.add(chunk.teacher_state, chunk.student_state, chunk.activated);
    }
    teacher_layer = target;
    FittedLayer fitted{equations.error / tokens, equations.error / tokens};
    if (fitted.error_before > kExact) {
      const torch::Tensor added = equations.solution(options.ridge);
      if (!added.defined()) {
        return world_error("Layer " + std::to_string(layer) +
                           " of the student can't be fitted: its sums over the exchanges aren't finite. Set "
                           "student.fit_tokens to 0 to train it as it is.");
      }
      const torch::Tensor down = down_of(student, layer);
      down.add_(added.t().to(torch::kFloat32));
      down_of(working, layer).copy_(down);
      const torch::Tensor change = added.to(chunks.front().activated.options());
      double error = 0;
      for (Chunk& chunk : chunks) {
        chunk.student_state.addmm_(chunk.activated, change);
        error += weighted_error(chunk.teacher_state.to(torch::kFloat32) - chunk.student_state.to(torch::kFloat32),
                                weights_of(chunk.teacher_state));
      }
      fitted.error_after = error / tokens;
    }
    fit.layers.push_back(fitted);
    progress.advance(static_cast<double>(layer + 1), "");
  }
  progress.end("");
  return fit;
}

LayerFitRates measure_layer_fit(const DecoderConfig& student, ComputeType compute, Backend backend,
                                const Clock& clock) {
  constexpr std::int64_t kMostChannels = 2048;
  const torch::NoGradGuard no_gradient;
  const SumPrecision precision(compute, backend);
  const std::int64_t channels = std::min(kMostChannels, student.intermediate);
  const std::int64_t hidden = std::min(kMostChannels, student.hidden);
  const auto options = torch::dtype(dtype_of(compute)).device(backend == Backend::kCuda ? torch::kCUDA : torch::kCPU);
  // What is in them doesn't matter, but for a matrix that can be solved.
  const torch::Tensor rows = torch::rand({kChunkTokens, channels}).to(options);
  const torch::Tensor state = torch::rand({kChunkTokens, hidden}).to(options), target = state + 1;
  Equations warm, equations;
  warm.add(target, state, rows);
  const double begin = clock.monotonic_s();
  for (int chunk = 0; chunk < kChunksOfPart; ++chunk) equations.add(target, state, rows);
  const double added = clock.monotonic_s();
  equations.solution(1);
  const double solved = clock.monotonic_s();
  const auto wide = static_cast<double>(channels), narrow = static_cast<double>(hidden);
  LayerFitRates rates;
  rates.sums = sum_flops(kChunksOfPart * kChunkTokens, wide, narrow) / std::max(1e-9, added - begin);
  rates.solving = solve_flops(wide, narrow) / std::max(1e-9, solved - added);
  return rates;
}

double layer_fit_seconds(const DecoderConfig& teacher, const DecoderConfig& student, std::int64_t tokens,
                         const LayerFitRates& rates) {
  const auto blocks = [](const DecoderConfig& config) {
    return static_cast<double>(matmul_parameter_count(config)) - static_cast<double>(config.vocabulary * config.hidden);
  };
  const auto layers = static_cast<double>(student.layers);
  const auto channels = static_cast<double>(student.intermediate), hidden = static_cast<double>(student.hidden);
  const auto text = static_cast<double>(tokens);
  const auto took = [](double flops, double rate) { return rate > 0 ? flops / rate : 0; };
  return took(2 * text * (blocks(teacher) + blocks(student)), rates.reading) +
         // With what is added applied to each chunk: as large a product as that with what is missing.
         layers * (took(sum_flops(text, channels, 2 * hidden), rates.sums) +
                   took(solve_flops(channels, hidden), rates.solving));
}

std::int64_t layer_fit_bytes(const DecoderConfig& student, std::int64_t tokens, ComputeType compute) {
  const std::int64_t width = compute == ComputeType::kFloat32 ? 4 : 2;
  // Both models' states, what is multiplied, and both models' cosines and sines in FP32.
  const std::int64_t states = tokens * (width * (2 * student.hidden + student.intermediate) + 8 * student.head_dim);
  // The sum, its factor, and a part in FP32; a chunk's rows in FP32.
  const std::int64_t sums = student.intermediate * (student.intermediate + student.hidden) * (2 * 8 + 4);
  const std::int64_t chunk = kChunkTokens * (3 * student.intermediate + 4 * student.hidden) * 4;
  return states + sums + chunk + parameter_count(student) * width;
}

Json to_json(const LayerFit& fit) {
  Json layers = Json::array();
  for (const FittedLayer& layer : fit.layers) {
    layers.push_back({{"error_before", layer.error_before}, {"error_after", layer.error_after}});
  }
  Json json = {{"tokens", fit.tokens}, {"layers", std::move(layers)}};
  if (fit.kl_before && fit.kl_after) {
    json["held_out_kl_before"] = *fit.kl_before;
    json["held_out_kl_after"] = *fit.kl_after;
  }
  return json;
}

}  // namespace retort::model
