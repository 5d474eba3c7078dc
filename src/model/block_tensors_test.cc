// What a GPU runs, run here, and on a GPU where there is one: it must give what our kernels give.
#include "model/block_tensors.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <map>
#include <string>
#include <vector>

#include "model/adapters.h"
#include "model/cuda_for_test.h"
#include "model/torch_generator.h"

namespace retort::model {
namespace {

std::vector<DecoderConfig> families() {
  DecoderConfig llama;
  llama.layers = 2;
  llama.hidden = 32;
  llama.heads = 4;
  llama.kv_heads = 2;
  llama.head_dim = 8;
  llama.intermediate = 48;
  llama.vocabulary = 50;
  llama.context = 64;
  llama.source_layers = {0, 1};
  DecoderConfig qwen2 = llama, qwen3 = llama, mistral = llama, equal_heads = llama;
  qwen2.architecture = "qwen2";
  qwen2.qkv_bias = true;
  qwen3.architecture = "qwen3";
  qwen3.qk_norm = true;
  mistral.window = 5;
  equal_heads.kv_heads = 4;
  return {llama, qwen2, qwen3, mistral, equal_heads};
}

// Weights of every tensor drawn, biases and norms too: what is left out somewhere must show.
Decoder drawn(const DecoderConfig& config, ComputeType compute) {
  torch::manual_seed(5);
  std::vector<NamedTensor> tensors;
  for (const auto& name : tensor_names(config)) {
    const auto shape = tensor_shape(config, name);
    const torch::Tensor values = torch::randn(shape);
    tensors.push_back({name, shape.size() == 1 && !name.ends_with("bias") ? 1 + 0.1 * values : 0.2 * values});
  }
  auto decoder = Decoder::from_tensors(config, tensors, compute);
  RETORT_CHECK(decoder.has_value());
  return std::move(*decoder);
}

// Two documents, padding between them.
TokenBatch packed() {
  TokenBatch batch;
  std::vector<std::int64_t> ids, positions, documents;
  for (std::int64_t i = 0; i < 20; ++i) {
    const std::int64_t document = i < 11 ? 0 : (i < 13 ? -1 : 1);
    ids.push_back(i * 7 % 50);
    positions.push_back(document == 1 ? i - 13 : i);
    documents.push_back(document);
  }
  const auto row = [](const std::vector<std::int64_t>& values) { return torch::tensor(values).view({1, -1}); };
  return {row(ids), row(positions), row(documents)};
}

// Of rows as packed(): none of padding, whose values are nobody's business.
torch::Tensor incoming_gradient() {
  torch::Tensor gradient = torch::randn({20, 32});
  gradient.narrow(0, 11, 2).zero_();
  return gradient;
}

double distance(const torch::Tensor& a, const torch::Tensor& b) {
  const torch::Tensor wide = a.to(torch::kFloat64);
  return (wide - b.to(torch::kCPU, torch::kFloat64)).norm().item<double>() / wide.norm().item<double>();
}

// The processor, and a GPU where there is one.
std::vector<Backend> tensor_backends() {
  std::vector<Backend> all = {Backend::kTensors};
  if (kCudaIsThere) all.push_back(Backend::kCuda);
  return all;
}

TEST(BlockTensors, GiveTheHiddenStatesOfTheKernels) {
  const torch::NoGradGuard no_gradient;
  for (const ComputeType compute : {ComputeType::kFloat32, ComputeType::kBFloat16}) {
    for (const DecoderConfig& config : families()) {
      const Decoder kernels = drawn(config, compute);
      const auto of_documents = [](const torch::Tensor& hidden) {
        return torch::cat({hidden[0].narrow(0, 0, 11), hidden[0].narrow(0, 13, 7)});
      };
      for (const Backend backend : tensor_backends()) {
        const Decoder tensors = kernels.clone(compute, backend);
        EXPECT_LT(distance(of_documents(kernels.forward(packed())), of_documents(tensors.forward(packed()))),
                  compute == ComputeType::kFloat32 ? 1e-5 : 2e-2)
            << name_of(backend) << " " << config.architecture << " window " << config.window;
      }
    }
  }
}

void expect_gradients_of_the_kernels(Backend backend, ComputeType compute, double tolerance) {
  for (const DecoderConfig& config : families()) {
    Decoder kernels = drawn(config, compute);
    Decoder tensors = kernels.clone(compute, backend);
    torch::manual_seed(9);
    const torch::Tensor input = torch::randn({20, 32});
    const torch::Tensor incoming = incoming_gradient();
    std::vector<std::map<std::string, torch::Tensor>> gradients;
    for (Decoder* decoder : {&kernels, &tensors}) {
      decoder->set_requires_grad(true);
      torch::Tensor x = input.to(decoder->device(), dtype_of(compute), false, true).set_requires_grad(true);
      const Decoder::Layout layout = decoder->layout(packed());
      const torch::Tensor y = decoder->apply_final_norm(decoder->apply_block(1, x, layout));
      torch::autograd::backward({y}, {incoming.to(y.options())});
      auto& own = gradients.emplace_back();
      own["x"] = x.grad();
      for (const NamedTensor& named : decoder->named_parameters()) {
        if (named.name.starts_with("blk.1.") || named.name == "output_norm.weight")
          own[named.name] = named.tensor.grad();
      }
    }
    EXPECT_GE(gradients[0].size(), 11U);
    for (const auto& [name, gradient] : gradients[0]) {
      ASSERT_TRUE(gradients[1][name].defined()) << name;
      EXPECT_LT(distance(gradient, gradients[1][name]), tolerance)
          << name_of(backend) << " " << config.architecture << " " << name;
    }
  }
}

TEST(BlockTensors, GiveTheGradientsOfTheKernels) {
  for (const Backend backend : tensor_backends()) {
    expect_gradients_of_the_kernels(backend, ComputeType::kFloat32, 1e-4);
    expect_gradients_of_the_kernels(backend, ComputeType::kBFloat16, 5e-2);
  }
}

// Every adapter drawn, B too: what is left out somewhere must show.
void expect_adapters_of_the_kernels(Backend backend) {
  for (const DecoderConfig& config : families()) {
    Decoder kernels = drawn(config, ComputeType::kFloat32);
    Decoder tensors = kernels.clone(ComputeType::kFloat32, backend);
    const torch::Tensor input = torch::randn({20, 32});
    const torch::Tensor incoming = incoming_gradient();
    std::vector<std::map<std::string, torch::Tensor>> gradients;
    for (Decoder* decoder : {&kernels, &tensors}) {
      decoder->add_adapters({.rank = 3, .lora_alpha = 5}, 1);
      torch::manual_seed(6);
      for (auto& [name, tensor] : decoder->named_adapters()) {
        const torch::NoGradGuard no_gradient;
        tensor.copy_(0.2 * torch::randn(tensor.sizes()));
      }
      torch::Tensor x = input.to(decoder->device(), torch::kFloat32, false, true).set_requires_grad(true);
      const torch::Tensor y = decoder->apply_block(1, x, decoder->layout(packed()));
      torch::autograd::backward({y}, {incoming.to(y.device())});
      auto& own = gradients.emplace_back();
      own["y"] = torch::cat({y.detach().narrow(0, 0, 11), y.detach().narrow(0, 13, 7)});
      own["x"] = x.grad();
      for (const NamedTensor& named : decoder->named_adapters()) {
        if (named.name.starts_with("blk.1.")) own[named.name] = named.tensor.grad();
      }
    }
    EXPECT_EQ(gradients[0].size(), 2U + 2 * 7);
    for (const auto& [name, gradient] : gradients[0]) {
      ASSERT_TRUE(gradients[1][name].defined()) << name;
      EXPECT_LT(distance(gradient, gradients[1][name]), 1e-4)
          << name_of(backend) << " " << config.architecture << " " << name;
    }
  }
}

TEST(BlockTensors, HearAdaptersAsTheKernelsDo) {
  for (const Backend backend : tensor_backends()) expect_adapters_of_the_kernels(backend);
}

class Answers final : public GenerationJob {
 public:
  std::optional<TokenRequest> next() override {
    if (given_ == 3) return std::nullopt;
    TokenRequest request;
    request.tag = given_++;
    for (std::uint64_t i = 0; i <= 4 * request.tag; ++i) request.prompt_ids.push_back(static_cast<TokenId>(3 + i * 5));
    request.sampling.temperature = 0;
    request.sampling.max_tokens = 15;
    return request;
  }
  Result<void> finished(std::uint64_t tag, TokenCompletion completion) override {
    ids[tag] = completion.ids;
    return {};
  }
  std::map<std::uint64_t, std::vector<TokenId>> ids;

 private:
  std::uint64_t given_ = 0;
};

TEST(BlockTensors, ContinueAsTheKernelsDo) {
  for (const DecoderConfig& config : families()) {
    const Decoder kernels = drawn(config, ComputeType::kFloat32);
    Answers by_kernels;
    ASSERT_TRUE(TorchGenerator(kernels, 2).generate(by_kernels, {}));
    EXPECT_EQ(by_kernels.ids.size(), 3U);
    for (const Backend backend : tensor_backends()) {
      Answers by_tensors;
      const Decoder tensors = kernels.clone(ComputeType::kFloat32, backend);
      ASSERT_TRUE(TorchGenerator(tensors, 2).generate(by_tensors, {}));
      EXPECT_EQ(by_kernels.ids, by_tensors.ids)
          << name_of(backend) << " " << config.architecture << " window " << config.window;
    }
  }
}

// The hidden states of prompts, of single tokens after them, of several after those, and of a prompt that comes later.
std::vector<torch::Tensor> continued(const Decoder& decoder) {
  std::vector<torch::Tensor> hidden;
  std::vector<KeyValueCache> caches(3);
  const auto extend = [&](const std::vector<std::int64_t>& counts, const std::vector<std::size_t>& which) {
    std::vector<std::int32_t> ids;
    std::vector<KeyValueCache*> own;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      for (std::int64_t j = 0; j < counts[i]; ++j) ids.push_back(static_cast<std::int32_t>((ids.size() * 11 + 3) % 50));
      own.push_back(&caches[which[i]]);
    }
    hidden.push_back(decoder.extend(ids, counts, own).cpu());
  };
  extend({5, 9}, {0, 1});
  for (int i = 0; i < 4; ++i) extend({1, 1}, {1, 0});
  extend({3, 2}, {0, 1});
  extend({1, 6, 1}, {0, 2, 1});
  extend({1, 1, 1}, {2, 1, 0});
  return hidden;
}

TEST(CudaKernels, ContinueAsTheProcessorDoes) {
  if (!kCudaIsThere) GTEST_SKIP() << "there is no CUDA device";
  for (const DecoderConfig& config : families()) {
    const Decoder processor = drawn(config, ComputeType::kBFloat16);
    const Decoder device = processor.clone(ComputeType::kBFloat16, Backend::kCuda);
    ASSERT_TRUE(device.by_kernels());
    const auto expected = continued(processor), got = continued(device);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_LT(distance(expected[i], got[i]), 2e-2) << config.architecture << " window " << config.window << " " << i;
    }
  }
}

// Wide heads, many heads a key, rows that aren't multiples of a warp's reach: against FP32 on the processor.
TEST(CudaKernels, TakeTheShapesOfRealModels) {
  if (!kCudaIsThere) GTEST_SKIP() << "there is no CUDA device";
  for (const std::int64_t head_dim : {64, 80, 128, 256}) {
    DecoderConfig config = families()[2];  // with norms of heads
    config.qkv_bias = true;
    config.head_dim = head_dim;
    config.heads = 6;
    config.kv_heads = head_dim == 64 ? 1 : 2;
    config.hidden = 328;
    config.intermediate = 1000;
    const Decoder processor = drawn(config, ComputeType::kFloat32);
    const Decoder device = processor.clone(ComputeType::kBFloat16, Backend::kCuda);
    ASSERT_TRUE(device.by_kernels());
    const Decoder rounded = processor.clone(ComputeType::kBFloat16);
    const auto exact = continued(processor), on_processor = continued(rounded), on_device = continued(device);
    for (std::size_t i = 0; i < exact.size(); ++i) {
      // No farther from FP32 than the processor's BF16 is, but for chance.
      EXPECT_LT(distance(exact[i], on_device[i]), 1.5 * distance(exact[i], on_processor[i]) + 1e-3) << head_dim;
    }
  }
}

TEST(Backend, SaysWhatIsMissingForCuda) {
  if (kCudaIsThere) GTEST_SKIP() << "there is a CUDA device";
  const auto wanted = choose_backend("cuda");
  ASSERT_FALSE(wanted);
  EXPECT_NE(wanted.error().message.find("CUDA"), std::string::npos);
  EXPECT_EQ(choose_backend("auto").value(), Backend::kKernels);
  EXPECT_EQ(choose_backend("cpu").value(), Backend::kKernels);
}

}  // namespace
}  // namespace retort::model
