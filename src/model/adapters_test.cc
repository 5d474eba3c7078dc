#include "model/adapters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <filesystem>
#include <map>
#include <utility>

#include "base/files.h"
#include "base/json.h"
#include "model/peft_adapter.h"
#include "model/safetensors.h"
#include "model/torch_generator.h"

namespace retort::model {
namespace {

using ::testing::ElementsAre;

const std::vector<std::int32_t> kFirst = {3, 17, 4, 44, 9, 0, 31, 8, 25, 2};
const std::vector<std::int32_t> kSecond = {7, 7, 12, 40, 1};

// Every option of the decoder.
DecoderConfig small_config() {
  DecoderConfig config;
  config.layers = 3;
  config.hidden = 32;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 16;
  config.intermediate = 48;
  config.vocabulary = 50;
  config.context = 64;
  config.tied_head = false;
  config.qkv_bias = true;
  config.qk_norm = true;
  config.source_layers = {0, 1, 2};
  return config;
}

Decoder make(ComputeType compute) {
  const DecoderConfig config = small_config();
  torch::manual_seed(11);
  std::vector<NamedTensor> tensors;
  for (const auto& name : tensor_names(config)) {
    const auto shape = tensor_shape(config, name);
    auto values = torch::randn(shape, torch::kFloat32);
    values = shape.size() == 1 && name.ends_with(".weight") ? 1 + 0.1 * values : 0.2 * values;
    tensors.push_back({name, values});
  }
  auto decoder = Decoder::from_tensors(config, tensors, compute);
  RETORT_CHECK(decoder.has_value());
  return *decoder;
}

AdapterConfig adapters_of(bool attention, bool feed_forward) { return {4, 6, attention, feed_forward}; }

// B that says something.
void fill(Decoder& decoder) {
  const torch::NoGradGuard no_gradient;
  torch::manual_seed(5);
  for (auto& [name, tensor] : decoder.named_adapters()) {
    if (name.ends_with(".lora_b")) tensor.copy_(0.2 * torch::randn(tensor.sizes()));
  }
}

// The weights that the adapters amount to.
Decoder merged(const Decoder& adapted, double scale) {
  std::map<std::string, torch::Tensor> adapters;
  for (const auto& [name, tensor] : adapted.named_adapters()) adapters[name] = tensor.detach().to(torch::kFloat64);
  std::vector<NamedTensor> tensors;
  for (const auto& [name, tensor] : adapted.named_parameters()) {
    torch::Tensor values = tensor.detach().to(torch::kFloat64);
    if (adapters.contains(name + ".lora_a")) {
      values = values + scale * adapters.at(name + ".lora_b").mm(adapters.at(name + ".lora_a"));
    }
    tensors.push_back({name, values.to(torch::kFloat32)});
  }
  auto decoder = Decoder::from_tensors(adapted.config(), tensors, ComputeType::kFloat32);
  RETORT_CHECK(decoder.has_value());
  return *decoder;
}

double difference(const torch::Tensor& a, const torch::Tensor& b) {
  return (a.to(torch::kFloat64) - b.to(torch::kFloat64)).abs().max().item<double>();
}

TEST(Adapters, StandBesideTheMatricesThatAreNamed) {
  const DecoderConfig config = small_config();
  EXPECT_EQ(adapted_matrices(config, adapters_of(true, true)).size(), 21U);
  const auto attention = adapted_matrices(config, adapters_of(true, false));
  EXPECT_THAT(
      std::vector<std::string>(attention.begin(), attention.begin() + 4),
      ElementsAre("blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight", "blk.0.attn_output.weight"));
  const auto feed_forward = adapted_matrices(config, adapters_of(false, true));
  EXPECT_THAT(std::vector<std::string>(feed_forward.begin(), feed_forward.begin() + 3),
              ElementsAre("blk.0.ffn_gate.weight", "blk.0.ffn_up.weight", "blk.0.ffn_down.weight"));
  for (const AdapterConfig& adapters : {adapters_of(true, true), adapters_of(true, false), adapters_of(false, true)}) {
    Decoder decoder = make(ComputeType::kFloat32);
    decoder.add_adapters(adapters, 1);
    std::int64_t count = 0;
    std::size_t index = 0;
    const auto names = adapted_matrices(config, adapters);
    for (const auto& [name, tensor] : decoder.named_adapters()) {
      EXPECT_EQ(name, names[index / 2] + (index % 2 == 0 ? ".lora_a" : ".lora_b"));
      EXPECT_TRUE(tensor.is_leaf() && tensor.requires_grad() && tensor.is_contiguous()) << name;
      count += tensor.numel();
      ++index;
    }
    EXPECT_EQ(index, 2 * names.size());
    EXPECT_EQ(count, adapter_parameter_count(config, adapters));
  }
}

TEST(Adapters, FreshOnesChangeNothingAndComeFromTheSeed) {
  const torch::Tensor exact = make(ComputeType::kFloat32).forward(single_document(kFirst));
  for (const auto compute : {ComputeType::kFloat32, ComputeType::kBFloat16}) {
    const Decoder plain = make(compute);
    Decoder adapted = plain.clone(compute);
    adapted.add_adapters(adapters_of(true, true), 1);
    const torch::Tensor without = plain.forward(single_document(kFirst));
    const torch::Tensor with = adapted.forward(single_document(kFirst));
    if (compute == ComputeType::kFloat32) {
      EXPECT_TRUE(torch::equal(without, with));
    } else {  // rounded once more
      EXPECT_LT((with - exact).norm().item<double>(), 1.5 * (without - exact).norm().item<double>());
    }
    Decoder again = plain.clone(compute);
    again.add_adapters(adapters_of(true, true), 1);
    Decoder other = plain.clone(compute);
    other.add_adapters(adapters_of(true, true), 2);
    const auto first = adapted.named_adapters();
    for (std::size_t i = 0; i < first.size(); ++i) {
      EXPECT_TRUE(torch::equal(first[i].tensor, again.named_adapters()[i].tensor)) << first[i].name;
      if (!first[i].name.ends_with("_a")) continue;
      EXPECT_FALSE(torch::equal(first[i].tensor, other.named_adapters()[i].tensor)) << first[i].name;
      const double bound = 1 / std::sqrt(static_cast<double>(first[i].tensor.size(1)));
      const double largest = first[i].tensor.abs().max().item<double>();
      EXPECT_LE(largest, 1.01 * bound);
      EXPECT_GT(largest, 0.8 * bound);
    }
    EXPECT_FALSE(torch::equal(first[0].tensor, first[2].tensor));
  }
}

TEST(Adapters, ComputeWhatTheMergedWeightsCompute) {
  for (const AdapterConfig& adapters : {adapters_of(true, true), adapters_of(true, false), adapters_of(false, true)}) {
    for (const auto compute : {ComputeType::kFloat32, ComputeType::kBFloat16}) {
      const Decoder plain = make(compute);
      Decoder adapted = plain.clone(compute);
      adapted.add_adapters(adapters, 1);
      fill(adapted);
      const Decoder whole = merged(adapted, adapters.scale());
      const auto expected = whole.forward(single_document(kFirst)).squeeze(0);
      const double allowed = compute == ComputeType::kFloat32 ? 3e-5 : 0.15;
      // All at once, in pieces, and with a record for the gradient.
      EXPECT_LT(difference(adapted.forward(single_document(kFirst)).squeeze(0), expected), allowed);
      EXPECT_GT(difference(plain.forward(single_document(kFirst)).squeeze(0), expected), 3 * allowed);
      KeyValueCache cache;
      KeyValueCache* const caches[] = {&cache};
      std::vector<torch::Tensor> rows;
      for (const auto& [begin, count] : {std::pair<std::size_t, std::int64_t>{0, 6}, {6, 4}}) {
        const std::int64_t counts[] = {count};
        rows.push_back(
            adapted.extend(std::span(kFirst).subspan(begin, static_cast<std::size_t>(count)), counts, caches));
      }
      EXPECT_LT(difference(torch::cat(rows), expected), allowed);
      const auto layout = adapted.layout(single_document(kFirst));
      torch::Tensor x = adapted.embed(single_document(kFirst).ids.flatten());
      for (std::int64_t layer = 0; layer < 3; ++layer) x = adapted.apply_block(layer, x, layout);
      ASSERT_TRUE(x.requires_grad());
      EXPECT_LT(difference(adapted.apply_final_norm(x).detach(), expected), allowed);
    }
  }
}

// What an adapter adds is less than half a rounding of what W makes: it must not be lost in BF16 every time.
TEST(Adapters, AreHeardBelowARounding) {
  torch::manual_seed(4);
  const std::int64_t in = 64, out = 512, rows = 256;
  const auto options = torch::TensorOptions(torch::kBFloat16);
  AdapterGroup group;
  group.stacked = torch::randn({2, in}, options);
  group.parts.push_back({"w", group.stacked.detach(), torch::full({out, 2}, 1e-3, options), 0});
  const torch::Tensor x = torch::randn({rows, in}, options);
  const torch::Tensor w = torch::randn({out, in}, options);  // makes sums of 8 or so, in steps of 1/32
  const torch::Tensor residual = 4 * torch::randn({rows, out}, options);
  const AdapterGroup none;
  const torch::Tensor added =
      x.to(torch::kFloat64).mm(group.stacked.to(torch::kFloat64).t()).mm(group.parts[0].b.to(torch::kFloat64).t());
  ASSERT_LT(added.abs().mean().item<double>(), 0.01);
  for (const bool to_residual : {false, true}) {
    const auto computed = [&](const AdapterGroup& adapters) {
      torch::Tensor y = residual.clone();
      (to_residual ? add_product : multiply)(adapters, 1, x, w, y);
      return y.to(torch::kFloat64);
    };
    // How much of what is added arrives: 1, but for the roundings of 131,072 sums.
    const torch::Tensor arrived = computed(group) - computed(none);
    const double share = (arrived * added).sum().item<double>() / added.square().sum().item<double>();
    EXPECT_NEAR(share, 1, 0.1) << to_residual;
  }
  AdapterGradients gradients;
  const torch::Tensor y_gradient = torch::randn({rows, out}, options);
  gradients.inner = 1e-3 * torch::randn({rows, 2}, options);
  const torch::Tensor through = gradients.inner.to(torch::kFloat64).mm(group.stacked.to(torch::kFloat64));
  torch::Tensor with = torch::empty({rows, in}, options), without = torch::empty({rows, in}, options);
  gradients.multiply_back(group, y_gradient, w, with);
  AdapterGradients().multiply_back(none, y_gradient, w, without);
  const torch::Tensor arrived = (with - without).to(torch::kFloat64);
  EXPECT_NEAR((arrived * through).sum().item<double>() / through.square().sum().item<double>(), 1, 0.3);
}

// What the student says in rollouts is what its adapters make of it.
TEST(Adapters, AreHeardInGeneration) {
  Decoder adapted = make(ComputeType::kFloat32);
  const Decoder plain = adapted.clone(ComputeType::kFloat32);
  adapted.add_adapters(adapters_of(true, true), 1);
  fill(adapted);
  const auto answer = [](const Decoder& decoder) {
    TokenRequest request;
    request.prompt_ids.assign(kSecond.begin(), kSecond.end());
    request.sampling.temperature = 0;
    request.sampling.max_tokens = 16;
    TorchGenerator generator(decoder);
    const std::vector<TokenRequest> requests = {request};
    auto answers = generate_all(generator, requests, {});
    RETORT_CHECK(answers.has_value());
    return (*answers)[0].ids;
  };
  EXPECT_EQ(answer(adapted), answer(merged(adapted, adapters_of(true, true).scale())));
  EXPECT_NE(answer(adapted), answer(plain));
}

// The slope along every adapter, by central differences of the merged model; and nothing for what is frozen.
TEST(Adapters, GradientsAreTheSlopes) {
  for (const AdapterConfig& adapters : {adapters_of(true, true), adapters_of(true, false), adapters_of(false, true)}) {
    Decoder decoder = make(ComputeType::kFloat32);
    decoder.add_adapters(adapters, 1);
    fill(decoder);
    torch::manual_seed(3);
    const auto weights = torch::randn({10, 32}, torch::kFloat64);
    const auto layout = decoder.layout(single_document(kFirst));
    torch::Tensor input = decoder.embed(single_document(kFirst).ids.flatten()).requires_grad_(true);
    const auto run = [&](const Decoder& model, torch::Tensor x) {
      for (std::int64_t layer = 0; layer < 3; ++layer) x = model.apply_block(layer, x, layout);
      return x;
    };
    run(decoder, input).backward(weights.to(torch::kFloat32));
    const auto loss = [&](const torch::Tensor& x) {
      const torch::NoGradGuard no_gradient;
      return (run(merged(decoder, adapters.scale()), x).to(torch::kFloat64) * weights).sum().item<double>();
    };
    const auto slope = [&](torch::Tensor tensor, const torch::Tensor& direction) {
      constexpr double kStep = 3e-3;
      const torch::NoGradGuard no_gradient;
      const torch::Tensor saved = tensor.clone();
      tensor.copy_(saved + kStep * direction);
      const double above = loss(input);
      tensor.copy_(saved - kStep * direction);
      const double below = loss(input);
      tensor.copy_(saved);
      return (above - below) / (2 * kStep);
    };
    std::vector<NamedTensor> differentiated = decoder.named_adapters();
    differentiated.push_back({"input", input});
    for (const auto& [name, tensor] : differentiated) {
      ASSERT_TRUE(tensor.grad().defined()) << name;
      const double norm = tensor.grad().norm().item<double>();
      EXPECT_GT(norm, 0.01) << name;
      EXPECT_NEAR(slope(tensor, tensor.grad() / norm), norm, 0.01 * norm) << name;
    }
    for (const auto& [name, tensor] : decoder.named_parameters()) EXPECT_FALSE(tensor.grad().defined()) << name;
  }
}

TEST(Adapters, AreWrittenAsPeftReadsThem) {
  const auto folder = std::filesystem::temp_directory_path() / "retort_peft_adapter";
  std::filesystem::remove_all(folder);
  Decoder decoder = make(ComputeType::kFloat32);
  const AdapterConfig adapters = adapters_of(true, true);
  decoder.add_adapters(adapters, 1);
  fill(decoder);
  ASSERT_TRUE(write_peft_adapter(folder, adapters, decoder.named_adapters()));
  const auto reader = SafetensorsReader::open(folder / "adapter_model.safetensors");
  ASSERT_TRUE(reader) << reader.error().message;
  EXPECT_EQ(reader->tensors().size(), 42U);
  const auto* b = reader->find("base_model.model.model.layers.2.mlp.down_proj.lora_B.weight");
  ASSERT_NE(b, nullptr);
  EXPECT_THAT(b->shape, ElementsAre(32, 4));
  const auto* a = reader->find("base_model.model.model.layers.1.self_attn.k_proj.lora_A.weight");
  ASSERT_NE(a, nullptr);
  EXPECT_THAT(a->shape, ElementsAre(4, 32));
  for (const auto& [name, tensor] : decoder.named_adapters()) {
    if (name == "blk.1.attn_k.weight.lora_a") {
      EXPECT_EQ(reader->floats(*a)->at(33), tensor[1][1].item<float>());
    }
  }
  const auto config = parse_json(*read_file(folder / "adapter_config.json"), "config");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->at("r"), 4);
  EXPECT_EQ(config->at("lora_alpha"), 6);
  EXPECT_EQ(config->at("target_modules").size(), 7U);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace retort::model
