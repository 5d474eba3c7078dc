#include "model/cuda_rows.h"

#include <torch/torch.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <mutex>
#include <utility>

#include "model/cuda_program.h"
#include "model/cuda_sources.h"

namespace retort::model {

namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kVector = 8;       // values that a thread of the kernels moves at a time
constexpr std::int64_t kRowsABlock = 64;  // of a norm's gradient that are summed together
constexpr std::int64_t kColumnsABlock = 256;

struct DeviceKernels {
  CudaProgram program;
  void *rms_norm, *rms_norm_backward, *norm_weight_gradient, *add_to_rows, *rotate_rows, *swiglu_rows,
      *swiglu_rows_backward;
};

const Result<DeviceKernels>& device_kernels() {
  static const Result<DeviceKernels> compiled = []() -> Result<DeviceKernels> {
    RETORT_ASSIGN(CudaProgram program, CudaProgram::compile("row_kernels.cu", cuda_source::row_kernels));
    DeviceKernels all = {std::move(program), nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr};
    const auto found = [&](const char* name) { return all.program.kernel(name); };
    all.rms_norm = found("rms_norm");
    all.rms_norm_backward = found("rms_norm_backward");
    all.norm_weight_gradient = found("norm_weight_gradient");
    all.add_to_rows = found("add_to_rows");
    all.rotate_rows = found("rotate_rows");
    all.swiglu_rows = found("swiglu_rows");
    all.swiglu_rows_backward = found("swiglu_rows_backward");
    return all;
  }();
  return compiled;
}

// Attention of new tokens is compiled for each shape of heads.
struct AttendKernel {
  CudaProgram program;
  void* attend_new;
};

const AttendKernel& attend_kernel(std::int64_t head_dim, std::int64_t group) {
  static std::mutex mutex;
  static std::map<std::pair<std::int64_t, std::int64_t>, AttendKernel> compiled;
  const std::lock_guard lock(mutex);
  const auto found = compiled.find({head_dim, group});
  if (found != compiled.end()) return found->second;
  Result<CudaProgram> program =
      CudaProgram::compile("row_kernels.cu", cuda_source::row_kernels,
                           {"-DHEAD_DIM=" + std::to_string(head_dim), "-DGROUP=" + std::to_string(group)});
  TORCH_CHECK(program.has_value(), program.has_value() ? "" : program.error().message);
  AttendKernel made = {std::move(*program), nullptr};
  made.attend_new = made.program.kernel("attend_new");
  return compiled.emplace(std::pair(head_dim, group), std::move(made)).first->second;
}

std::int64_t blocks_for(std::int64_t items, std::int64_t a_block) { return (items + a_block - 1) / a_block; }
CudaGrid threads_for(std::int64_t items) { return {blocks_for(items, kThreads), 1, kThreads}; }
CudaGrid warps_for(std::int64_t items) { return {blocks_for(items, kThreads / 32), 1, kThreads}; }

// Pointers and numbers as the kernels' parameters have them.
const void* at(const torch::Tensor& tensor) { return tensor.const_data_ptr(); }
void* to(const torch::Tensor& tensor) { return tensor.mutable_data_ptr(); }
int number(std::int64_t value) { return static_cast<int>(value); }
using Wide = long long;
Wide wide(std::int64_t value) { return value; }

// Sums over rows of value times gradient times scale, of rows of `width` values of which `inner` lie side by side.
torch::Tensor weight_sums(const void* x, std::int64_t x_stride, const void* y_gradient, std::int64_t y_stride,
                          const void* scales, std::int64_t scales_stride, std::int64_t outer, std::int64_t inner,
                          std::int64_t width, const torch::TensorOptions& options) {
  const std::int64_t parts = blocks_for(outer * inner, kRowsABlock);
  const torch::Tensor partial = torch::empty({parts, width}, options.dtype(torch::kFloat32).requires_grad(false));
  const DeviceKernels& kernels = *device_kernels();
  kernels.program.launch(kernels.norm_weight_gradient,
                         {blocks_for(width, kColumnsABlock), parts, number(kColumnsABlock / 2)}, x, wide(x_stride),
                         y_gradient, wide(y_stride), scales, wide(scales_stride), to(partial), wide(outer),
                         number(inner), number(width), number(kRowsABlock));
  return partial.sum(0);
}

}  // namespace

Result<void> open_cuda_kernels() {
  const Result<DeviceKernels>& kernels = device_kernels();
  if (!kernels) return Failure(kernels.error());
  return {};
}

bool cuda_kernels_fit(const DecoderConfig& config, ComputeType type) {
  return type == ComputeType::kBFloat16 && config.hidden % kVector == 0 && config.intermediate % kVector == 0 &&
         config.head_dim % kVector == 0 && config.head_dim <= 256;
}

namespace cuda {

void normalise(const torch::Tensor& x, const torch::Tensor& weight, double epsilon, torch::Tensor& y,
               torch::Tensor& scales) {
  const std::int64_t rows = x.size(0), width = x.size(1);
  const DeviceKernels& kernels = *device_kernels();
  kernels.program.launch(kernels.rms_norm, warps_for(rows), at(x), wide(width), to(y), wide(width), at(weight),
                         at(weight), to(scales), wide(rows), 1, 1, number(width), static_cast<float>(epsilon));
}

torch::Tensor normalise_backward(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& scales,
                                 const torch::Tensor& y_gradient, torch::Tensor& x_gradient) {
  const std::int64_t rows = x.size(0), width = x.size(1);
  const DeviceKernels& kernels = *device_kernels();
  kernels.program.launch(kernels.rms_norm_backward, warps_for(rows), at(x), wide(width), at(y_gradient), wide(width),
                         to(x_gradient), wide(width), at(weight), at(weight), at(scales), wide(rows), 1, 1,
                         number(width), 1);
  if (!weight.requires_grad()) return {};
  return weight_sums(at(x), width, at(y_gradient), width, at(scales), 1, rows, 1, width, weight.options());
}

void add_to_rows(torch::Tensor& rows, const torch::Tensor& values) {
  const DeviceKernels& kernels = *device_kernels();
  kernels.program.launch(kernels.add_to_rows, threads_for(rows.numel() / kVector), to(rows), at(values),
                         wide(rows.size(0)), number(rows.size(1)));
}

void normalise_heads(const torch::Tensor& from, const DecoderBlock& block, const BlockShape& shape, torch::Tensor& y,
                     torch::Tensor& scales) {
  const std::int64_t rows = from.size(0);
  const DeviceKernels& kernels = *device_kernels();
  kernels.program.launch(kernels.rms_norm, warps_for(rows * shape.rotated_heads()), at(from), wide(from.size(1)), to(y),
                         wide(y.size(1)), at(block.query_norm), at(block.key_norm), to(scales), wide(rows),
                         number(shape.rotated_heads()), number(shape.heads), number(shape.head_dim),
                         static_cast<float>(shape.epsilon));
}

torch::Tensor normalise_heads_backward(const torch::Tensor& x, const DecoderBlock& block, const BlockShape& shape,
                                       const torch::Tensor& scales, torch::Tensor& gradient) {
  const std::int64_t rows = x.size(0), stride = gradient.size(1), width = shape.head_dim;
  const DeviceKernels& kernels = *device_kernels();
  const auto sums = [&](std::int64_t first, std::int64_t heads) {
    const auto* values = static_cast<const at::BFloat16*>(at(x)) + first * width;
    const auto* incoming = static_cast<const at::BFloat16*>(at(gradient)) + first * width;
    const auto* scale = static_cast<const float*>(at(scales)) + first;
    return weight_sums(values, x.size(1), incoming, stride, scale, shape.rotated_heads(), rows, heads, width,
                       x.options());
  };
  const torch::Tensor both = torch::stack({sums(0, shape.heads), sums(shape.heads, shape.kv_heads)});
  kernels.program.launch(kernels.rms_norm_backward, warps_for(rows * shape.rotated_heads()), at(x), wide(x.size(1)),
                         at(gradient), wide(stride), to(gradient), wide(stride), at(block.query_norm),
                         at(block.key_norm), at(scales), wide(rows), number(shape.rotated_heads()), number(shape.heads),
                         number(width), 0);
  return both;
}

void rotate(torch::Tensor& projections, const BlockShape& shape, const Decoder::Layout& layout, float sign) {
  const std::int64_t rows = projections.size(0);
  const DeviceKernels& kernels = *device_kernels();
  kernels.program.launch(kernels.rotate_rows, threads_for(rows * shape.rotated_heads() * shape.head_dim / 8),
                         to(projections), wide(projections.size(1)), at(layout.cosine), at(layout.sine), wide(rows),
                         number(shape.rotated_heads()), number(shape.head_dim), sign);
}

void activate(const torch::Tensor& gate_up, torch::Tensor& activated) {
  const DeviceKernels& kernels = *device_kernels();
  kernels.program.launch(kernels.swiglu_rows, threads_for(activated.numel() / kVector), at(gate_up), to(activated),
                         wide(activated.size(0)), number(activated.size(1)));
}

void activate_backward(torch::Tensor& gate_up, const torch::Tensor& gradient) {
  const DeviceKernels& kernels = *device_kernels();
  kernels.program.launch(kernels.swiglu_rows_backward, threads_for(gradient.numel() / kVector), to(gate_up),
                         at(gradient), wide(gradient.size(0)), number(gradient.size(1)));
}

void attend_new(const torch::Tensor& projections, const BlockShape& shape, std::span<const NewToken> tokens,
                torch::Tensor& attended) {
  struct Place {  // NewToken of the kernels
    void *keys, *values;
    int row, length, capacity, oldest;
  };
  constexpr std::size_t kMostTokens = 96;
  const AttendKernel& kernel = attend_kernel(shape.head_dim, shape.heads / shape.kv_heads);
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.head_dim)));
  for (std::size_t first = 0; first < tokens.size(); first += kMostTokens) {
    const std::size_t count = std::min(kMostTokens, tokens.size() - first);
    std::array<Place, kMostTokens> places = {};
    for (std::size_t i = 0; i < count; ++i) {
      const NewToken& token = tokens[first + i];
      const std::int64_t oldest = shape.window > 0 ? std::max<std::int64_t>(0, token.length + 1 - shape.window) : 0;
      places[i] = {to(token.keys),       to(token.values),           number(token.row),
                   number(token.length), number(token.keys.size(1)), number(oldest)};
    }
    kernel.program.launch(kernel.attend_new, {static_cast<std::int64_t>(count), shape.kv_heads, kThreads}, places,
                          at(projections), wide(projections.size(1)), to(attended), wide(attended.size(1)),
                          number(shape.kv_heads), scale);
  }
}

}  // namespace cuda

}  // namespace retort::model
