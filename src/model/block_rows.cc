#include "model/block_rows.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "model/cuda_rows.h"
#include "model/parallel.h"
#include "model/row_kernels.h"
#include "model/tensor_rows.h"

namespace retort::model {

namespace {

constexpr std::int64_t kRowGrain = 32;
constexpr std::int64_t kGradientBlock = 64;  // rows whose norm and bias gradients are summed together

std::int64_t gradient_blocks(std::int64_t rows) { return (rows + kGradientBlock - 1) / kGradientBlock; }

// Calls f with a value of the type the rows are stored in.
template <class F>
void with_type(const torch::Tensor& rows, const F& f) {
  if (rows.scalar_type() == torch::kBFloat16) {
    f(Bf16{});
  } else {
    f(float{});
  }
}

// Calls f(number of the block, first row, rows) for blocks of kGradientBlock rows on all threads.
template <class F>
void for_gradient_blocks(std::int64_t rows, const F& f) {
  const std::int64_t blocks = gradient_blocks(rows);
  parallel_for(0, blocks, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t block = first; block < last; ++block) {
      const std::int64_t begin = block * kGradientBlock;
      f(block, begin, std::min(kGradientBlock, rows - begin));
    }
  });
}

}  // namespace

void normalise(const torch::Tensor& x, const torch::Tensor& weight, double epsilon, torch::Tensor& y,
               torch::Tensor& scales) {
  if (x.is_cuda()) return cuda::normalise(x, weight, epsilon, y, scales);
  const std::int64_t width = x.size(1);
  with_type(x, [&](auto type) {
    const auto* from = values_of<decltype(type)>(x);
    auto* to = values_of<decltype(type)>(y);
    const float* w = weight.const_data_ptr<float>();
    float* r = scales.data_ptr<float>();
    parallel_for(0, x.size(0), kRowGrain, [&](std::int64_t begin, std::int64_t end) {
      rms_norm_rows(from + begin * width, w, to + begin * width, r + begin, end - begin, width,
                    static_cast<float>(epsilon));
    });
  });
}

torch::Tensor normalise_backward(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& scales,
                                 const torch::Tensor& y_gradient, torch::Tensor& x_gradient) {
  if (x.is_cuda()) return cuda::normalise_backward(x, weight, scales, y_gradient, x_gradient);
  const std::int64_t rows = x.size(0);
  const std::int64_t width = x.size(1);
  torch::Tensor sums = torch::zeros({gradient_blocks(rows), width}, weight.options().requires_grad(false));
  with_type(x, [&](auto type) {
    const auto* from = values_of<decltype(type)>(x);
    const auto* incoming = values_of<decltype(type)>(y_gradient);
    auto* outgoing = values_of<decltype(type)>(x_gradient);
    const float* w = weight.const_data_ptr<float>();
    const float* r = scales.const_data_ptr<float>();
    float* partial = sums.data_ptr<float>();
    for_gradient_blocks(rows, [&](std::int64_t block, std::int64_t begin, std::int64_t count) {
      rms_norm_rows_backward(from + begin * width, w, r + begin, incoming + begin * width, outgoing + begin * width,
                             partial + block * width, count, width);
    });
  });
  return sums.sum(0);
}

void add_bias(torch::Tensor& projections, const DecoderBlock& block) {
  if (!block.query_key_value_bias.defined()) return;
  if (projections.is_cuda()) return cuda::add_to_rows(projections, block.query_key_value_bias);
  const std::int64_t width = projections.size(1);
  const float* bias = block.query_key_value_bias.const_data_ptr<float>();
  with_type(projections, [&](auto type) {
    auto* rows = values_of<decltype(type)>(projections);
    parallel_for(0, projections.size(0), kRowGrain, [&](std::int64_t begin, std::int64_t end) {
      add_to_rows(rows + begin * width, bias, end - begin, width);
    });
  });
}

torch::Tensor bias_gradient(const torch::Tensor& projection_gradient) {
  if (projection_gradient.is_cuda()) return projection_gradient.sum(0, false, torch::kFloat32);
  const std::int64_t rows = projection_gradient.size(0);
  const std::int64_t width = projection_gradient.size(1);
  torch::Tensor sums = torch::zeros({gradient_blocks(rows), width}, torch::kFloat32);
  float* partial = sums.data_ptr<float>();
  with_type(projection_gradient, [&](auto type) {
    const auto* from = values_of<decltype(type)>(projection_gradient);
    for_gradient_blocks(rows, [&](std::int64_t block, std::int64_t begin, std::int64_t count) {
      sum_rows(from + begin * width, partial + block * width, count, width);
    });
  });
  return sums.sum(0);
}

void normalise_heads(const torch::Tensor& from, const DecoderBlock& block, const BlockShape& shape, torch::Tensor& to,
                     torch::Tensor& scales) {
  if (from.is_cuda()) return cuda::normalise_heads(from, block, shape, to, scales);
  const std::int64_t width = shape.head_dim;
  const std::int64_t from_stride = from.size(1);
  const std::int64_t to_stride = to.size(1);
  const float* query_norm = block.query_norm.const_data_ptr<float>();
  const float* key_norm = block.key_norm.const_data_ptr<float>();
  float* scale = scales.data_ptr<float>();
  with_type(from, [&](auto type) {
    const auto* in = values_of<decltype(type)>(from);
    auto* out = values_of<decltype(type)>(to);
    parallel_for(0, from.size(0), kRowGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const auto* x = in + row * from_stride;
        auto* y = out + row * to_stride;
        float* r = scale + row * shape.rotated_heads();
        const auto epsilon = static_cast<float>(shape.epsilon);
        rms_norm_rows(x, query_norm, y, r, shape.heads, width, epsilon);
        rms_norm_rows(x + shape.query_width(), key_norm, y + shape.query_width(), r + shape.heads, shape.kv_heads,
                      width, epsilon);
      }
    });
  });
}

torch::Tensor normalise_heads_backward(const torch::Tensor& x, const DecoderBlock& block, const BlockShape& shape,
                                       const torch::Tensor& scales, torch::Tensor& gradient) {
  if (x.is_cuda()) return cuda::normalise_heads_backward(x, block, shape, scales, gradient);
  const std::int64_t width = shape.head_dim;
  const std::int64_t heads_width = shape.rotated_heads() * width;
  const std::int64_t stride = gradient.size(1);
  const float* query_norm = block.query_norm.const_data_ptr<float>();
  const float* key_norm = block.key_norm.const_data_ptr<float>();
  const float* scale = scales.const_data_ptr<float>();
  torch::Tensor sums = torch::zeros({gradient_blocks(x.size(0)), 2, width}, torch::kFloat32);
  float* partial = sums.data_ptr<float>();
  with_type(x, [&](auto type) {
    using Value = decltype(type);
    const auto* in = values_of<Value>(x);
    auto* rows = values_of<Value>(gradient);
    for_gradient_blocks(x.size(0), [&](std::int64_t number, std::int64_t begin, std::int64_t count) {
      std::vector<Value> incoming(static_cast<std::size_t>(heads_width));
      float* query_sums = partial + number * 2 * width;
      for (std::int64_t row = begin; row < begin + count; ++row) {
        auto* outgoing = rows + row * stride;
        const auto* from = in + row * heads_width;
        const float* r = scale + row * shape.rotated_heads();
        std::copy_n(outgoing, heads_width, incoming.data());
        std::fill_n(outgoing, heads_width, Value{});
        rms_norm_rows_backward(from, query_norm, r, incoming.data(), outgoing, query_sums, shape.heads, width);
        const std::int64_t keys = shape.query_width();
        rms_norm_rows_backward(from + keys, key_norm, r + shape.heads, incoming.data() + keys, outgoing + keys,
                               query_sums + width, shape.kv_heads, width);
      }
    });
  });
  return sums.sum(0);
}

void rotate(torch::Tensor& projections, const BlockShape& shape, const Decoder::Layout& layout, float sign) {
  if (projections.is_cuda()) return cuda::rotate(projections, shape, layout, sign);
  const std::int64_t stride = projections.size(1);
  const std::int64_t half = shape.head_dim / 2;
  const float* cosine = layout.cosine.const_data_ptr<float>();
  const float* sine = layout.sine.const_data_ptr<float>();
  with_type(projections, [&](auto type) {
    auto* rows = values_of<decltype(type)>(projections);
    parallel_for(0, projections.size(0), kRowGrain, [&](std::int64_t begin, std::int64_t end) {
      rotate_rows(rows + begin * stride, stride, cosine + begin * half, sine + begin * half, end - begin,
                  shape.rotated_heads(), shape.head_dim, sign);
    });
  });
}

void activate(const torch::Tensor& gate_up, torch::Tensor& activated) {
  if (gate_up.is_cuda()) return cuda::activate(gate_up, activated);
  const std::int64_t width = activated.size(1);
  with_type(gate_up, [&](auto type) {
    const auto* from = values_of<decltype(type)>(gate_up);
    auto* to = values_of<decltype(type)>(activated);
    parallel_for(0, gate_up.size(0), kRowGrain, [&](std::int64_t begin, std::int64_t end) {
      swiglu_rows(from + begin * 2 * width, to + begin * width, end - begin, width);
    });
  });
}

void activate_backward(torch::Tensor& gate_up, const torch::Tensor& gradient) {
  if (gate_up.is_cuda()) return cuda::activate_backward(gate_up, gradient);
  const std::int64_t width = gradient.size(1);
  with_type(gate_up, [&](auto type) {
    auto* rows = values_of<decltype(type)>(gate_up);
    const auto* incoming = values_of<decltype(type)>(gradient);
    parallel_for(0, gate_up.size(0), kRowGrain, [&](std::int64_t begin, std::int64_t end) {
      swiglu_rows_backward(rows + begin * 2 * width, incoming + begin * width, end - begin, width);
    });
  });
}

}  // namespace retort::model
