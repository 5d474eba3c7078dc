#include "model/adapters.h"

#include <torch/torch.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <utility>

#include "base/random.h"

namespace retort::model {
namespace {

constexpr std::array<std::string_view, 4> kAttention = {"attn_q.weight", "attn_k.weight", "attn_v.weight",
                                                        "attn_output.weight"};
constexpr std::array<std::string_view, 3> kFeedForward = {"ffn_gate.weight", "ffn_up.weight", "ffn_down.weight"};

bool is_adapted(const std::string& name, const AdapterConfig& adapters) {
  if (!name.starts_with("blk.")) return false;
  const std::string_view part = std::string_view(name).substr(name.find('.', 4) + 1);
  const auto among = [&](const auto& parts) { return std::find(parts.begin(), parts.end(), part) != parts.end(); };
  return (adapters.attention && among(kAttention)) || (adapters.feed_forward && among(kFeedForward));
}

// Adapters of those of `parts` that are wanted.
AdapterGroup allocate_group(const DecoderConfig& config, const AdapterConfig& adapters, std::int64_t layer,
                            std::initializer_list<std::string_view> parts, const torch::TensorOptions& options) {
  AdapterGroup group;
  std::int64_t first = 0;
  std::int64_t in = 0;
  for (const std::string_view part : parts) {
    const std::string name = "blk." + std::to_string(layer) + "." + std::string(part);
    const std::vector<std::int64_t> shape = tensor_shape(config, name);
    in = shape[1];
    if (is_adapted(name, adapters)) {
      group.parts.push_back({name, {}, torch::empty({shape[0], adapters.rank}, options), first});
    }
    first += shape[0];
  }
  if (group.parts.empty()) return group;
  group.stacked = torch::empty({static_cast<std::int64_t>(group.parts.size()) * adapters.rank, in}, options);
  for (std::size_t i = 0; i < group.parts.size(); ++i) {
    // detach(): a leaf of its own on the same memory.
    group.parts[i].a = group.stacked.narrow(0, static_cast<std::int64_t>(i) * adapters.rank, adapters.rank).detach();
  }
  return group;
}

// Calls f(part, where its rank begins in the group's, rank).
template <class F>
void for_parts(const AdapterGroup& group, const F& f) {
  std::int64_t begin = 0;
  for (const AdapterGroup::Part& part : group.parts) {
    f(part, begin, part.a.size(0));
    begin += part.a.size(0);
  }
}

// y += scale (x A^T) B^T, for every part.
void add_adapters(const AdapterGroup& group, double scale, const torch::Tensor& x, torch::Tensor& y) {
  if (group.parts.empty()) return;
  const torch::Tensor inner = at::mm(x, group.stacked.t());
  for_parts(group, [&](const AdapterGroup::Part& part, std::int64_t begin, std::int64_t rank) {
    y.narrow(1, part.first, part.b.size(0)).addmm_(inner.narrow(1, begin, rank), part.b.t(), 1, scale);
  });
}

bool rounds(const torch::Tensor& y) { return y.scalar_type() != torch::kFloat32; }

}  // namespace

std::vector<std::string> adapted_matrices(const DecoderConfig& config, const AdapterConfig& adapters) {
  std::vector<std::string> names = tensor_names(config);
  std::erase_if(names, [&](const std::string& name) { return !is_adapted(name, adapters); });
  return names;
}

std::int64_t adapter_parameter_count(const DecoderConfig& config, const AdapterConfig& adapters) {
  std::int64_t count = 0;
  for (const std::string& name : adapted_matrices(config, adapters)) {
    const std::vector<std::int64_t> shape = tensor_shape(config, name);
    count += adapters.rank * (shape[0] + shape[1]);
  }
  return count;
}

std::shared_ptr<BlockAdapters> allocate_adapters(const DecoderConfig& config, const AdapterConfig& adapters,
                                                 std::int64_t layer, const torch::TensorOptions& options) {
  const auto group = [&](std::initializer_list<std::string_view> parts) {
    return allocate_group(config, adapters, layer, parts, options);
  };
  auto block = std::make_shared<BlockAdapters>();
  block->scale = adapters.scale();
  block->query_key_value = group({"attn_q.weight", "attn_k.weight", "attn_v.weight"});
  block->output = group({"attn_output.weight"});
  block->gate_up = group({"ffn_gate.weight", "ffn_up.weight"});
  block->down = group({"ffn_down.weight"});
  return block;
}

void multiply(const AdapterGroup& group, double scale, const torch::Tensor& x, const torch::Tensor& w,
              torch::Tensor& y) {
  const torch::NoGradGuard no_gradient;
  const bool adapters_first = rounds(y) && !group.parts.empty();
  if (adapters_first) {
    y.zero_();
    add_adapters(group, scale, x, y);
    y.addmm_(x, w.t());  // in FP32, rounded once
    return;
  }
  at::mm_out(y, x, w.t());
  add_adapters(group, scale, x, y);
}

void add_product(const AdapterGroup& group, double scale, const torch::Tensor& x, const torch::Tensor& w,
                 torch::Tensor& y) {
  const torch::NoGradGuard no_gradient;
  if (rounds(y) && !group.parts.empty()) {
    torch::Tensor product = torch::empty_like(y);
    multiply(group, scale, x, w, product);
    y.add_(product);
    return;
  }
  y.addmm_(x, w.t());
  add_adapters(group, scale, x, y);
}

AdapterGradients adapter_gradients(const AdapterGroup& group, double scale, const torch::Tensor& x,
                                   const torch::Tensor& y_gradient) {
  if (group.parts.empty()) return {};
  const torch::NoGradGuard no_gradient;
  AdapterGradients gradients;
  const torch::Tensor inner = at::mm(x, group.stacked.t()).mul_(scale);
  gradients.inner = torch::empty_like(inner);
  std::vector<torch::Tensor> of_b;
  for_parts(group, [&](const AdapterGroup::Part& part, std::int64_t begin, std::int64_t rank) {
    const torch::Tensor outputs = y_gradient.narrow(1, part.first, part.b.size(0));
    of_b.push_back(at::mm(outputs.t(), inner.narrow(1, begin, rank)));
    gradients.inner.narrow(1, begin, rank).copy_(at::mm(outputs, part.b));
  });
  gradients.inner.mul_(scale);
  const torch::Tensor of_a = at::mm(gradients.inner.t(), x);
  std::size_t index = 0;
  for_parts(group, [&](const AdapterGroup::Part&, std::int64_t begin, std::int64_t rank) {
    gradients.parameters.push_back(of_a.narrow(0, begin, rank));
    gradients.parameters.push_back(std::move(of_b[index++]));
  });
  return gradients;
}

void AdapterGradients::multiply_back(const AdapterGroup& group, const torch::Tensor& y_gradient, const torch::Tensor& w,
                                     torch::Tensor& x_gradient) const {
  const torch::NoGradGuard no_gradient;
  if (!inner.defined()) {
    at::mm_out(x_gradient, y_gradient, w);
  } else if (rounds(x_gradient)) {
    at::mm_out(x_gradient, inner, group.stacked);
    x_gradient.addmm_(y_gradient, w);
  } else {
    at::mm_out(x_gradient, y_gradient, w);
    x_gradient.addmm_(inner, group.stacked);
  }
}

void Decoder::add_adapters(const AdapterConfig& adapters, std::uint64_t seed) {
  RETORT_CHECK(adapters.rank > 0 && named_adapters().empty());
  const torch::NoGradGuard no_gradient;
  for (std::size_t layer = 0; layer < blocks_.size(); ++layer) {
    auto added = allocate_adapters(config_, adapters, static_cast<std::int64_t>(layer),
                                   torch::TensorOptions(dtype_of(compute_)).device(device()));
    for (AdapterGroup* group : {&added->query_key_value, &added->output, &added->gate_up, &added->down}) {
      for (AdapterGroup::Part& part : group->parts) {
        // He et al. (arXiv 1502.01852, equation 10) with a leaky slope of sqrt(5), which is what layers begin with.
        const double bound = 1 / std::sqrt(static_cast<double>(part.a.size(1)));
        Random random(derive_seed(seed, part.name + ".lora_a"));
        torch::Tensor values = torch::empty(part.a.sizes(), torch::kFloat32);
        auto* value = values.data_ptr<float>();
        for (std::int64_t i = 0; i < values.numel(); ++i) {
          value[i] = static_cast<float>(bound * (2 * random.uniform() - 1));
        }
        part.a.copy_(values);
        part.b.zero_();
        part.a.set_requires_grad(true);
        part.b.set_requires_grad(true);
      }
    }
    blocks_[layer].adapters = std::move(added);
  }
}

std::vector<NamedTensor> Decoder::named_adapters() const {
  std::vector<NamedTensor> result;
  for (const DecoderBlock& block : blocks_) {
    if (block.adapters == nullptr) continue;
    const BlockAdapters& own = *block.adapters;
    for (const AdapterGroup* group : {&own.query_key_value, &own.output, &own.gate_up, &own.down}) {
      for (const AdapterGroup::Part& part : group->parts) {
        result.push_back({part.name + ".lora_a", part.a});
        result.push_back({part.name + ".lora_b", part.b});
      }
    }
  }
  return result;
}

}  // namespace retort::model
