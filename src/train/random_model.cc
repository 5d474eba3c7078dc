#include "train/random_model.h"

#include <torch/torch.h>

#include <string>
#include <utility>

#include "base/random.h"
#include "model/weights.h"

namespace retort::train {

model::DecoderConfig with_layers(model::DecoderConfig config, std::int64_t layers) {
  config.layers = layers;
  config.source_layers.clear();
  for (std::int64_t layer = 0; layer < layers; ++layer) config.source_layers.push_back(layer);
  return config;
}

Result<model::Decoder> random_decoder(const model::DecoderConfig& config, model::ComputeType compute,
                                      model::Backend backend) {
  std::vector<model::NamedTensor> tensors;
  const auto options = torch::TensorOptions(model::dtype_of(compute))
                           .device(backend == model::Backend::kCuda ? torch::kCUDA : torch::kCPU);
  for (const std::string& name : model::tensor_names(config)) {
    const auto shape = model::tensor_shape(config, name);
    tensors.push_back(
        {name, shape.size() == 1 ? torch::ones(shape, options) : torch::randn(shape, options).mul_(0.04)});
  }
  return model::Decoder::from_tensors(config, tensors, compute, backend);
}

std::vector<dataset::Example> random_examples(std::int64_t tokens, std::int64_t vocabulary, std::size_t shortest,
                                              std::size_t longest) {
  Random random(1);
  std::vector<dataset::Example> examples;
  for (std::int64_t sum = 0; sum < tokens;) {
    dataset::Example example;
    const std::size_t length = shortest + random.below(longest - shortest + 1);
    for (std::size_t i = 0; i < length; ++i) {
      example.ids.push_back(static_cast<TokenId>(random.below(static_cast<std::uint64_t>(vocabulary))));
    }
    example.supervised.assign(length, 1);
    example.supervised[0] = 0;
    sum += static_cast<std::int64_t>(length);
    examples.push_back(std::move(example));
  }
  return examples;
}

}  // namespace retort::train
