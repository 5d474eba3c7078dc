#include "train/lora.h"

#include <torch/torch.h>

#include <map>
#include <string>

namespace retort::train {

model::AdapterConfig adapter_config(const TrainOptions& options) {
  RETORT_CHECK(trains_adapters(options));
  return {options.lora_rank, options.lora_alpha, options.lora_targets != "mlp", options.lora_targets != "attention"};
}

void merge_adapters(std::span<const model::NamedTensor> weights, std::span<const model::NamedTensor> adapters,
                    double scale) {
  const torch::NoGradGuard no_gradient;
  std::map<std::string, at::Tensor> by_name;
  for (const auto& [name, tensor] : adapters) by_name[name] = tensor;
  for (const auto& [name, tensor] : weights) {
    const auto a = by_name.find(name + ".lora_a");
    if (a == by_name.end()) continue;
    RETORT_CHECK(tensor.scalar_type() == at::kFloat);
    at::Tensor weight = tensor.detach();
    weight.addmm_(by_name.at(name + ".lora_b").to(weight.device()), a->second.to(weight.device()), 1, scale);
  }
}

bool are_weights_of(const model::Decoder& student, std::span<const model::NamedTensor> weights) {
  const torch::NoGradGuard no_gradient;
  const std::vector<model::NamedTensor> own = student.named_parameters();
  if (own.size() != weights.size()) return false;
  for (std::size_t i = 0; i < own.size(); ++i) {
    if (own[i].name != weights[i].name) return false;
    if (!at::equal(own[i].tensor, weights[i].tensor.to(own[i].tensor.options()))) return false;
  }
  return true;
}

}  // namespace retort::train
