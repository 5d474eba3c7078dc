#include "model/block.h"

#include <ATen/Parallel.h>
#include <torch/custom_class.h>
#include <torch/torch.h>

#include <utility>
#include <vector>

#include "model/attention.h"
#include "model/cached_attention.h"
#include "model/row_kernels.h"
#include "model/tensor_rows.h"

namespace retort::model {

namespace {

constexpr std::int64_t kRowGrain = 32;
constexpr std::int64_t kGradientBlock = 64;  // rows whose norm gradients are summed together

// Calls f with a value of the type the rows are stored in.
template <class F>
void with_type(const torch::Tensor& rows, const F& f) {
  if (rows.scalar_type() == torch::kBFloat16) {
    f(Bf16{});
  } else {
    f(float{});
  }
}

void normalise(const torch::Tensor& x, const torch::Tensor& weight, double epsilon, torch::Tensor& y,
               torch::Tensor& scales) {
  const std::int64_t width = x.size(1);
  with_type(x, [&](auto type) {
    const auto* from = values_of<decltype(type)>(x);
    auto* to = values_of<decltype(type)>(y);
    const float* w = weight.const_data_ptr<float>();
    float* r = scales.data_ptr<float>();
    at::parallel_for(0, x.size(0), kRowGrain, [&](std::int64_t begin, std::int64_t end) {
      rms_norm_rows(from + begin * width, w, to + begin * width, r + begin, end - begin, width,
                    static_cast<float>(epsilon));
    });
  });
}

// Adds to x_gradient; returns the weight's gradient.
torch::Tensor normalise_backward(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& scales,
                                 const torch::Tensor& y_gradient, torch::Tensor& x_gradient) {
  const std::int64_t rows = x.size(0);
  const std::int64_t width = x.size(1);
  const std::int64_t blocks = (rows + kGradientBlock - 1) / kGradientBlock;
  torch::Tensor sums = torch::zeros({blocks, width}, weight.options().requires_grad(false));
  with_type(x, [&](auto type) {
    const auto* from = values_of<decltype(type)>(x);
    const auto* incoming = values_of<decltype(type)>(y_gradient);
    auto* outgoing = values_of<decltype(type)>(x_gradient);
    const float* w = weight.const_data_ptr<float>();
    const float* r = scales.const_data_ptr<float>();
    float* partial = sums.data_ptr<float>();
    at::parallel_for(0, blocks, 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t block = first; block < last; ++block) {
        const std::int64_t begin = block * kGradientBlock;
        const std::int64_t count = std::min(kGradientBlock, rows - begin);
        rms_norm_rows_backward(from + begin * width, w, r + begin, incoming + begin * width, outgoing + begin * width,
                               partial + block * width, count, width);
      }
    });
  });
  return sums.sum(0);
}

// Rotates queries and keys of each row; sign -1 rotates back.
void rotate(torch::Tensor& projections, const BlockShape& shape, const Decoder::Layout& layout, float sign) {
  const std::int64_t stride = projections.size(1);
  const std::int64_t half = shape.head_dim / 2;
  const float* cosine = layout.cosine.const_data_ptr<float>();
  const float* sine = layout.sine.const_data_ptr<float>();
  with_type(projections, [&](auto type) {
    auto* rows = values_of<decltype(type)>(projections);
    at::parallel_for(0, projections.size(0), kRowGrain, [&](std::int64_t begin, std::int64_t end) {
      rotate_rows(rows + begin * stride, stride, cosine + begin * half, sine + begin * half, end - begin,
                  shape.heads + shape.kv_heads, shape.head_dim, sign);
    });
  });
}

void activate(const torch::Tensor& gate_up, torch::Tensor& activated) {
  const std::int64_t width = activated.size(1);
  with_type(gate_up, [&](auto type) {
    const auto* from = values_of<decltype(type)>(gate_up);
    auto* to = values_of<decltype(type)>(activated);
    at::parallel_for(0, gate_up.size(0), kRowGrain, [&](std::int64_t begin, std::int64_t end) {
      swiglu_rows(from + begin * 2 * width, to + begin * width, end - begin, width);
    });
  });
}

// Writes the gradient over gate_up.
void activate_backward(torch::Tensor& gate_up, const torch::Tensor& gradient) {
  const std::int64_t width = gradient.size(1);
  with_type(gate_up, [&](auto type) {
    auto* rows = values_of<decltype(type)>(gate_up);
    const auto* incoming = values_of<decltype(type)>(gradient);
    at::parallel_for(0, gate_up.size(0), kRowGrain, [&](std::int64_t begin, std::int64_t end) {
      swiglu_rows_backward(rows + begin * 2 * width, incoming + begin * width, end - begin, width);
    });
  });
}

torch::Tensor rows_like(const torch::Tensor& x, std::int64_t width) {
  return torch::empty({x.size(0), width}, x.options().requires_grad(false));
}
torch::Tensor scales_for(const torch::Tensor& x) {
  return torch::empty({x.size(0)}, x.options().dtype(torch::kFloat32).requires_grad(false));
}

void prepare(BlockScratch& scratch, const torch::Tensor& x, const DecoderBlock& block, const BlockShape& shape) {
  if (scratch.normed.defined() && scratch.normed.size(0) == x.size(0)) return;
  scratch.normed = rows_like(x, x.size(1));
  scratch.projections = rows_like(x, shape.projection_width());
  scratch.attended = rows_like(x, shape.query_width());
  scratch.gate_up = rows_like(x, block.gate_up.size(0));
  scratch.activated = rows_like(x, block.down.size(1));
  scratch.scales = scales_for(x);
}

void project(const torch::Tensor& x, const DecoderBlock& block, const BlockShape& shape, const Decoder::Layout& layout,
             BlockScratch& scratch) {
  normalise(x, block.attention_norm, shape.epsilon, scratch.normed, scratch.scales);
  at::mm_out(scratch.projections, scratch.normed, block.query_key_value.t());
  rotate(scratch.projections, shape, layout, 1.0F);
}

void finish(torch::Tensor& x, const DecoderBlock& block, const BlockShape& shape, BlockScratch& scratch) {
  x.addmm_(scratch.attended, block.output.t());
  normalise(x, block.feed_forward_norm, shape.epsilon, scratch.normed, scratch.scales);
  at::mm_out(scratch.gate_up, scratch.normed, block.gate_up.t());
  activate(scratch.gate_up, scratch.activated);
  x.addmm_(scratch.activated, block.down.t());
}

// What the backward pass needs; freed as soon as it has run.
struct BlockRecord final : torch::CustomClassHolder {
  DecoderBlock block;
  BlockShape shape;
  std::vector<Decoder::Layout::Segment> segments;
  Decoder::Layout layout;  // of which only the rotation is used
  torch::Tensor x, middle, projections, attended, log_sums, gate_up, scales, middle_scales;
  bool used = false;
};

struct BlockFunction final : torch::autograd::Function<BlockFunction> {
  // The weights are passed one by one so that autograd sees them; the record holds the same memory.
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x,
                               const torch::Tensor& /*attention_norm*/, const torch::Tensor& /*query*/,
                               const torch::Tensor& /*key*/, const torch::Tensor& /*value*/,
                               const torch::Tensor& /*output*/, const torch::Tensor& /*feed_forward_norm*/,
                               const torch::Tensor& /*gate*/, const torch::Tensor& /*up*/,
                               const torch::Tensor& /*down*/, const DecoderBlock* block, const BlockShape* shape,
                               const Decoder::Layout* layout) {
    auto record = c10::make_intrusive<BlockRecord>();
    record->block = *block;
    record->shape = *shape;
    record->layout = *layout;
    record->x = x;
    record->scales = scales_for(x);
    record->middle_scales = scales_for(x);
    record->projections = rows_like(x, shape->projection_width());
    record->attended = rows_like(x, shape->query_width());
    record->gate_up = rows_like(x, block->gate_up.size(0));
    torch::Tensor normed = rows_like(x, x.size(1));

    normalise(x, block->attention_norm, shape->epsilon, normed, record->scales);
    at::mm_out(record->projections, normed, block->query_key_value.t());
    rotate(record->projections, *shape, *layout, 1.0F);
    attend(record->projections, *shape, layout->segments, record->attended, &record->log_sums);
    record->middle = at::addmm(x, record->attended, block->output.t());
    normalise(record->middle, block->feed_forward_norm, shape->epsilon, normed, record->middle_scales);
    at::mm_out(record->gate_up, normed, block->gate_up.t());
    torch::Tensor activated = rows_like(x, block->down.size(1));
    activate(record->gate_up, activated);
    torch::Tensor y = at::addmm(record->middle, activated, block->down.t());
    context->saved_data["record"] = c10::IValue::make_capsule(std::move(record));
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto holder = context->saved_data["record"].toCapsule();
    auto& record = static_cast<BlockRecord&>(*holder);
    TORCH_CHECK(!record.used, "a decoder block can be differentiated once");
    record.used = true;
    const auto& block = record.block;
    const auto& shape = record.shape;
    const torch::Tensor y_gradient = gradients[0].contiguous();
    torch::Tensor normed = rows_like(record.x, record.x.size(1));
    torch::Tensor unused_scales = scales_for(record.x);

    // Feed-forward half.
    torch::Tensor activated = rows_like(record.x, block.down.size(1));
    activate(record.gate_up, activated);
    const torch::Tensor down_gradient = at::mm(y_gradient.t(), activated);
    at::mm_out(activated, y_gradient, block.down);  // now the gradient of the activation
    activate_backward(record.gate_up, activated);
    activated.reset();
    normalise(record.middle, block.feed_forward_norm, shape.epsilon, normed, unused_scales);
    const torch::Tensor gate_up_gradient = at::mm(record.gate_up.t(), normed);
    at::mm_out(normed, record.gate_up, block.gate_up);  // now the gradient of the normed rows
    record.gate_up.reset();
    torch::Tensor middle_gradient = y_gradient.clone();
    const torch::Tensor feed_forward_norm_gradient =
        normalise_backward(record.middle, block.feed_forward_norm, record.middle_scales, normed, middle_gradient);

    // Attention half.
    const torch::Tensor output_gradient = at::mm(middle_gradient.t(), record.attended);
    torch::Tensor projection_gradient =
        attend_backward(at::mm(middle_gradient, block.output), record.projections, record.attended, record.log_sums,
                        shape, record.layout.segments);
    rotate(projection_gradient, shape, record.layout, -1.0F);
    normalise(record.x, block.attention_norm, shape.epsilon, normed, unused_scales);
    const torch::Tensor projection_weight_gradient = at::mm(projection_gradient.t(), normed);
    at::mm_out(normed, projection_gradient, block.query_key_value);
    torch::Tensor& x_gradient = middle_gradient;
    const torch::Tensor attention_norm_gradient =
        normalise_backward(record.x, block.attention_norm, record.scales, normed, x_gradient);

    const std::int64_t queries = shape.query_width();
    const std::int64_t keys = shape.kv_heads * shape.head_dim;
    const std::int64_t intermediate = block.down.size(1);
    torch::autograd::variable_list result = {x_gradient,
                                             attention_norm_gradient,
                                             projection_weight_gradient.narrow(0, 0, queries),
                                             projection_weight_gradient.narrow(0, queries, keys),
                                             projection_weight_gradient.narrow(0, queries + keys, keys),
                                             output_gradient,
                                             feed_forward_norm_gradient,
                                             gate_up_gradient.narrow(0, 0, intermediate),
                                             gate_up_gradient.narrow(0, intermediate, intermediate),
                                             down_gradient,
                                             torch::Tensor(),
                                             torch::Tensor(),
                                             torch::Tensor()};
    record = BlockRecord();
    record.used = true;
    return result;
  }
};

struct NormFunction final : torch::autograd::Function<NormFunction> {
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x,
                               const torch::Tensor& weight, double epsilon) {
    torch::Tensor y = rows_like(x, x.size(1));
    torch::Tensor scales = scales_for(x);
    normalise(x, weight, epsilon, y, scales);
    context->save_for_backward({x, weight, scales});
    return y;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    torch::Tensor x_gradient = torch::zeros_like(saved[0]);
    const torch::Tensor weight_gradient =
        normalise_backward(saved[0], saved[1], saved[2], gradients[0].contiguous(), x_gradient);
    return {x_gradient, weight_gradient, torch::Tensor()};
  }
};

}  // namespace

torch::Tensor block_with_gradient(const torch::Tensor& x, const DecoderBlock& block, const BlockShape& shape,
                                  const Decoder::Layout& layout) {
  return BlockFunction::apply(x, block.attention_norm, block.query, block.key, block.value, block.output,
                              block.feed_forward_norm, block.gate, block.up, block.down, &block, &shape, &layout);
}

void block_in_place(torch::Tensor& x, const DecoderBlock& block, const BlockShape& shape, const Decoder::Layout& layout,
                    BlockScratch& scratch) {
  const torch::NoGradGuard no_gradient;
  prepare(scratch, x, block, shape);
  project(x, block, shape, layout, scratch);
  attend(scratch.projections, shape, layout.segments, scratch.attended, nullptr);
  finish(x, block, shape, scratch);
}

void block_with_caches(torch::Tensor& x, const DecoderBlock& block, const BlockShape& shape,
                       const Decoder::Layout& layout, std::int64_t layer, std::span<KeyValueCache* const> caches,
                       BlockScratch& scratch) {
  const torch::NoGradGuard no_gradient;
  prepare(scratch, x, block, shape);
  project(x, block, shape, layout, scratch);
  attend_cached(scratch.projections, shape, layout.segments, caches, layer, scratch.attended);
  finish(x, block, shape, scratch);
}

torch::Tensor rms_norm(const torch::Tensor& x, const torch::Tensor& weight, double epsilon) {
  if (torch::GradMode::is_enabled() && (x.requires_grad() || weight.requires_grad())) {
    return NormFunction::apply(x, weight, epsilon);
  }
  torch::Tensor y = rows_like(x, x.size(1));
  torch::Tensor scales = scales_for(x);
  normalise(x, weight, epsilon, y, scales);
  return y;
}

}  // namespace retort::model
