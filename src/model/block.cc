#include "model/block.h"

#include <torch/custom_class.h>
#include <torch/torch.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "model/adapters.h"
#include "model/attention.h"
#include "model/block_rows.h"
#include "model/cached_attention.h"

namespace retort::model {

namespace {

torch::Tensor rows_like(const torch::Tensor& x, std::int64_t width) {
  return torch::empty({x.size(0), width}, x.options().requires_grad(false));
}
torch::Tensor scales_for(const torch::Tensor& x) {
  return torch::empty({x.size(0)}, x.options().dtype(torch::kFloat32).requires_grad(false));
}

torch::Tensor head_scales_for(const torch::Tensor& x, const BlockShape& shape) {
  return torch::empty({x.size(0), shape.rotated_heads()}, x.options().dtype(torch::kFloat32).requires_grad(false));
}

// Of a block without adapters, and of the matrices that have none.
const AdapterGroup& group_of(const DecoderBlock& block, AdapterGroup BlockAdapters::*group) {
  static const AdapterGroup kNone;
  return block.adapters == nullptr ? kNone : (*block.adapters).*group;
}

double scale_of(const DecoderBlock& block) { return block.adapters == nullptr ? 0 : block.adapters->scale; }

// y = x W^T with what the block's adapters of these matrices add, if it has any.
void multiply(const DecoderBlock& block, AdapterGroup BlockAdapters::*group, const torch::Tensor& x,
              const torch::Tensor& w, torch::Tensor& y) {
  multiply(group_of(block, group), scale_of(block), x, w, y);
}

void add_product(const DecoderBlock& block, AdapterGroup BlockAdapters::*group, const torch::Tensor& x,
                 const torch::Tensor& w, torch::Tensor& y) {
  add_product(group_of(block, group), scale_of(block), x, w, y);
}

void prepare(BlockScratch& scratch, const torch::Tensor& x, const DecoderBlock& block, const BlockShape& shape) {
  if (scratch.normed.defined() && scratch.normed.size(0) == x.size(0)) return;
  scratch.normed = rows_like(x, x.size(1));
  scratch.projections = rows_like(x, shape.projection_width());
  scratch.attended = rows_like(x, shape.query_width());
  scratch.gate_up = rows_like(x, block.gate_up.size(0));
  scratch.activated = rows_like(x, block.down.size(1));
  scratch.scales = scales_for(x);
  if (block.query_norm.defined()) scratch.head_scales = head_scales_for(x, shape);
}

void project(const torch::Tensor& x, const DecoderBlock& block, const BlockShape& shape, const Decoder::Layout& layout,
             BlockScratch& scratch) {
  normalise(x, block.attention_norm, shape.epsilon, scratch.normed, scratch.scales);
  multiply(block, &BlockAdapters::query_key_value, scratch.normed, block.query_key_value, scratch.projections);
  add_bias(scratch.projections, block);
  if (block.query_norm.defined()) {
    normalise_heads(scratch.projections, block, shape, scratch.projections, scratch.head_scales);
  }
  rotate(scratch.projections, shape, layout, 1.0F);
}

void finish(torch::Tensor& x, const DecoderBlock& block, const BlockShape& shape, BlockScratch& scratch) {
  add_product(block, &BlockAdapters::output, scratch.attended, block.output, x);
  normalise(x, block.feed_forward_norm, shape.epsilon, scratch.normed, scratch.scales);
  multiply(block, &BlockAdapters::gate_up, scratch.normed, block.gate_up, scratch.gate_up);
  activate(scratch.gate_up, scratch.activated);
  add_product(block, &BlockAdapters::down, scratch.activated, block.down, x);
}

AdapterGradients adapter_gradients_of(const DecoderBlock& block, AdapterGroup BlockAdapters::*group,
                                      const torch::Tensor& x, const torch::Tensor& y_gradient) {
  return adapter_gradients(group_of(block, group), scale_of(block), x, y_gradient);
}

std::vector<torch::Tensor> leaves_of(const std::shared_ptr<const BlockAdapters>& adapters) {
  std::vector<torch::Tensor> leaves;
  if (adapters == nullptr) return leaves;
  for (const auto* group : {&adapters->query_key_value, &adapters->output, &adapters->gate_up, &adapters->down}) {
    for (const AdapterGroup::Part& part : group->parts) leaves.insert(leaves.end(), {part.a, part.b});
  }
  return leaves;
}

// Undefined where nobody asks for it: a product as dear as that of the forward pass. `leaf`: the matrix or a view of
// it.
torch::Tensor weight_gradient(const torch::Tensor& leaf, const torch::Tensor& y_gradient, const torch::Tensor& x) {
  return leaf.requires_grad() ? at::mm(y_gradient.t(), x) : torch::Tensor();
}

// What the backward pass needs; freed as soon as it has run.
struct BlockRecord final : torch::CustomClassHolder {
  DecoderBlock block;
  BlockShape shape;
  Decoder::Layout layout;
  torch::Tensor x, middle, projections, attended, gate_up, scales, middle_scales;
  AttentionSums sums;
  torch::Tensor heads, head_scales;  // what the norms of query and key were given; undefined without them
  bool used = false;
};

struct BlockFunction final : torch::autograd::Function<BlockFunction> {
  // The weights are passed one by one so that autograd sees them; the record holds the same memory.
  static torch::Tensor forward(
      torch::autograd::AutogradContext* context, const torch::Tensor& x, const torch::Tensor& /*attention_norm*/,
      const torch::Tensor& /*query*/, const torch::Tensor& /*key*/, const torch::Tensor& /*value*/,
      const std::optional<torch::Tensor>& /*query_bias*/, const std::optional<torch::Tensor>& /*key_bias*/,
      const std::optional<torch::Tensor>& /*value_bias*/, const std::optional<torch::Tensor>& /*query_norm*/,
      const std::optional<torch::Tensor>& /*key_norm*/, const torch::Tensor& /*output*/,
      const torch::Tensor& /*feed_forward_norm*/, const torch::Tensor& /*gate*/, const torch::Tensor& /*up*/,
      const torch::Tensor& /*down*/, const at::TensorList& /*adapters*/, const DecoderBlock* block,
      const BlockShape* shape, const Decoder::Layout* layout) {
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
    multiply(*block, &BlockAdapters::query_key_value, normed, block->query_key_value, record->projections);
    add_bias(record->projections, *block);
    if (block->query_norm.defined()) {
      record->heads = record->projections.narrow(1, 0, shape->rotated_heads() * shape->head_dim).clone();
      record->head_scales = head_scales_for(x, *shape);
      normalise_heads(record->heads, *block, *shape, record->projections, record->head_scales);
    }
    rotate(record->projections, *shape, *layout, 1.0F);
    attend(record->projections, *shape, *layout, record->attended, &record->sums);
    record->middle = x.clone();
    add_product(*block, &BlockAdapters::output, record->attended, block->output, record->middle);
    normalise(record->middle, block->feed_forward_norm, shape->epsilon, normed, record->middle_scales);
    multiply(*block, &BlockAdapters::gate_up, normed, block->gate_up, record->gate_up);
    torch::Tensor activated = rows_like(x, block->down.size(1));
    activate(record->gate_up, activated);
    torch::Tensor y = record->middle.clone();
    add_product(*block, &BlockAdapters::down, activated, block->down, y);
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
    const torch::Tensor down_gradient = weight_gradient(block.down, y_gradient, activated);
    const AdapterGradients down_adapter = adapter_gradients_of(block, &BlockAdapters::down, activated, y_gradient);
    // From here on the gradient of the activation.
    down_adapter.multiply_back(group_of(block, &BlockAdapters::down), y_gradient, block.down, activated);
    activate_backward(record.gate_up, activated);
    activated.reset();
    normalise(record.middle, block.feed_forward_norm, shape.epsilon, normed, unused_scales);
    const torch::Tensor gate_up_gradient = weight_gradient(block.gate, record.gate_up, normed);
    const AdapterGradients gate_up_adapter =
        adapter_gradients_of(block, &BlockAdapters::gate_up, normed, record.gate_up);
    // From here on the gradient of the normed rows.
    gate_up_adapter.multiply_back(group_of(block, &BlockAdapters::gate_up), record.gate_up, block.gate_up, normed);
    record.gate_up.reset();
    torch::Tensor middle_gradient = y_gradient.clone();
    const torch::Tensor feed_forward_norm_gradient =
        normalise_backward(record.middle, block.feed_forward_norm, record.middle_scales, normed, middle_gradient);

    // Attention half.
    const torch::Tensor output_gradient = weight_gradient(block.output, middle_gradient, record.attended);
    const AdapterGradients output_adapter =
        adapter_gradients_of(block, &BlockAdapters::output, record.attended, middle_gradient);
    torch::Tensor attended_gradient = torch::empty_like(record.attended);
    output_adapter.multiply_back(group_of(block, &BlockAdapters::output), middle_gradient, block.output,
                                 attended_gradient);
    torch::Tensor projection_gradient =
        attend_backward(attended_gradient, record.projections, record.attended, record.sums, shape, record.layout);
    attended_gradient.reset();
    rotate(projection_gradient, shape, record.layout, -1.0F);
    torch::Tensor head_norm_gradients;
    if (block.query_norm.defined()) {
      head_norm_gradients =
          normalise_heads_backward(record.heads, block, shape, record.head_scales, projection_gradient);
    }
    torch::Tensor projection_bias_gradient;
    if (block.query_key_value_bias.defined()) projection_bias_gradient = bias_gradient(projection_gradient);
    normalise(record.x, block.attention_norm, shape.epsilon, normed, unused_scales);
    const torch::Tensor projection_weight_gradient = weight_gradient(block.query, projection_gradient, normed);
    const AdapterGradients projection_adapter =
        adapter_gradients_of(block, &BlockAdapters::query_key_value, normed, projection_gradient);
    projection_adapter.multiply_back(group_of(block, &BlockAdapters::query_key_value), projection_gradient,
                                     block.query_key_value, normed);
    torch::Tensor& x_gradient = middle_gradient;
    const torch::Tensor attention_norm_gradient =
        normalise_backward(record.x, block.attention_norm, record.scales, normed, x_gradient);

    const std::int64_t queries = shape.query_width();
    const std::int64_t keys = shape.kv_heads * shape.head_dim;
    const std::int64_t intermediate = block.down.size(1);
    const auto part = [](const torch::Tensor& whole, std::int64_t first, std::int64_t rows) {
      return whole.defined() ? whole.narrow(0, first, rows) : torch::Tensor();
    };
    const auto head_norm_gradient = [&](std::int64_t which) {
      return head_norm_gradients.defined() ? head_norm_gradients[which] : torch::Tensor();
    };
    torch::autograd::variable_list result = {x_gradient,
                                             attention_norm_gradient,
                                             part(projection_weight_gradient, 0, queries),
                                             part(projection_weight_gradient, queries, keys),
                                             part(projection_weight_gradient, queries + keys, keys),
                                             part(projection_bias_gradient, 0, queries),
                                             part(projection_bias_gradient, queries, keys),
                                             part(projection_bias_gradient, queries + keys, keys),
                                             head_norm_gradient(0),
                                             head_norm_gradient(1),
                                             output_gradient,
                                             feed_forward_norm_gradient,
                                             part(gate_up_gradient, 0, intermediate),
                                             part(gate_up_gradient, intermediate, intermediate),
                                             down_gradient};
    // In the order of leaves_of().
    for (const auto* adapter : {&projection_adapter, &output_adapter, &gate_up_adapter, &down_adapter}) {
      result.insert(result.end(), adapter->parameters.begin(), adapter->parameters.end());
    }
    result.resize(result.size() + 3);  // block, shape and layout
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
  using Maybe = std::optional<torch::Tensor>;  // autograd leaves out those that are undefined
  const std::vector<torch::Tensor> adapters = leaves_of(block.adapters);
  return BlockFunction::apply(x, block.attention_norm, block.query, block.key, block.value, Maybe(block.query_bias),
                              Maybe(block.key_bias), Maybe(block.value_bias), Maybe(block.query_norm),
                              Maybe(block.key_norm), block.output, block.feed_forward_norm, block.gate, block.up,
                              block.down, at::TensorList(adapters), &block, &shape, &layout);
}

void block_in_place(torch::Tensor& x, const DecoderBlock& block, const BlockShape& shape, const Decoder::Layout& layout,
                    BlockScratch& scratch) {
  const torch::NoGradGuard no_gradient;
  prepare(scratch, x, block, shape);
  project(x, block, shape, layout, scratch);
  attend(scratch.projections, shape, layout, scratch.attended, nullptr);
  finish(x, block, shape, scratch);
}

void block_with_caches(torch::Tensor& x, const DecoderBlock& block, const BlockShape& shape,
                       const Decoder::Layout& layout, std::int64_t layer, std::span<KeyValueCache* const> caches,
                       BlockScratch& scratch) {
  const torch::NoGradGuard no_gradient;
  prepare(scratch, x, block, shape);
  project(x, block, shape, layout, scratch);
  attend_cached(scratch.projections, shape, layout, caches, layer, scratch.attended);
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
