#include "model/decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <numeric>

#include "base/json.h"
#include "base/random.h"
#include "gguf/file.h"
#include "gguf/testing.h"
#include "gguf/writer.h"
#include "model/rotary_layout.h"
#include "model/weights.h"

namespace retort::model {
namespace {

using ::testing::HasSubstr;
using torch::indexing::Slice;

constexpr std::int64_t kVocabulary = 50;

DecoderConfig small_config(bool tied = true, bool factors = false) {
  DecoderConfig config;
  config.layers = 3;
  config.hidden = 32;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 16;  // heads * head_dim is not hidden
  config.intermediate = 48;
  config.vocabulary = kVocabulary;
  config.context = 64;
  config.rms_epsilon = 1e-5;
  config.rope_theta = 1000;
  config.tied_head = tied;
  config.source_layers = {0, 1, 2};
  if (factors) {
    config.rope_scale = 2;
    config.rope_factors = {1, 1, 1.5F, 2, 3, 4, 8, 8};
  }
  return config;
}

// One of each option of the decoder, and all at once.
std::vector<DecoderConfig> variants() {
  std::vector<DecoderConfig> result = {small_config(), small_config(true, true)};
  const auto with = [&](const std::function<void(DecoderConfig&)>& change) {
    result.push_back(small_config());
    change(result.back());
  };
  const auto biased = [](DecoderConfig& c) { c.qkv_bias = true; };
  const auto normed = [](DecoderConfig& c) { c.qk_norm = true; };
  const auto windowed = [](DecoderConfig& c) { c.window = 4; };
  const auto yarn = [](DecoderConfig& c) {
    c.rope_scale = 4;
    c.yarn_context = 40;
    c.rope_magnitude = 1.2;
  };
  with(biased);
  with(normed);
  with(windowed);
  with(yarn);
  with([&](DecoderConfig& c) {
    for (const auto& change : std::vector<std::function<void(DecoderConfig&)>>{biased, normed, windowed, yarn}) {
      change(c);
    }
    c.rope_factors = {1, 1, 1.5F, 2, 3, 4, 8, 8};
    c.architecture = "qwen3";
  });
  return result;
}

// For traces.
std::string text_of(const DecoderConfig& config) { return to_json(config).dump(); }

std::vector<NamedTensor> draw_tensors(const DecoderConfig& config) {
  torch::manual_seed(7);
  std::vector<NamedTensor> tensors;
  for (const auto& name : tensor_names(config)) {
    const auto shape = tensor_shape(config, name);
    auto values = torch::randn(shape, torch::kFloat32);
    const bool norm = shape.size() == 1 && name.ends_with(".weight");
    tensors.push_back({name, norm ? 1 + 0.2 * values : 0.3 * values});
  }
  return tensors;
}

Decoder make(const DecoderConfig& config, ComputeType compute = ComputeType::kFloat32) {
  auto decoder = Decoder::from_tensors(config, draw_tensors(config), compute);
  RETORT_CHECK(decoder.has_value());
  return *decoder;
}

// The formulae once more, in FP64, one document, with nothing but libtorch's own operations.
torch::Tensor reference(const DecoderConfig& c, const std::map<std::string, torch::Tensor>& w,
                        const std::vector<std::int32_t>& ids) {
  const auto n = static_cast<std::int64_t>(ids.size());
  const auto norm = [&](const torch::Tensor& x, const torch::Tensor& weight) {
    return x * torch::rsqrt(x.pow(2).mean(-1, true) + c.rms_epsilon) * weight;
  };
  auto half = torch::arange(c.head_dim / 2, torch::kFloat64);
  auto frequency = torch::pow(c.rope_theta, -2.0 * half / static_cast<double>(c.head_dim));
  if (!c.rope_factors.empty()) frequency = frequency / torch::tensor(c.rope_factors, torch::kFloat64);
  if (c.yarn_context > 0) {
    // Turns in the original context, as arXiv 2309.00071 has them: above 32 plain, below 1 scaled, the ramp in between
    // over pairs of values.
    const double log_theta = std::log(c.rope_theta);
    const auto context = static_cast<double>(c.yarn_context);
    const auto width = static_cast<double>(c.head_dim);
    const double low = std::max(0.0, std::floor(width * std::log(context / (32 * 2 * M_PI)) / (2 * log_theta)));
    const double high = std::min(width - 1, std::ceil(width * std::log(context / (2 * M_PI)) / (2 * log_theta)));
    const auto share = ((half - low) / (high - low)).clamp(0, 1);
    frequency = frequency / c.rope_scale * share + frequency * (1 - share);
  } else {
    frequency = frequency / c.rope_scale;
  }
  const auto angle = torch::arange(n, torch::kFloat64).unsqueeze(1) * frequency;  // [n, half]
  const auto rotate = [&](const torch::Tensor& x) {                               // [n, heads, head_dim]
    const auto parts = x.chunk(2, -1);
    const auto cosine = c.rope_magnitude * angle.cos().unsqueeze(1);
    const auto sine = c.rope_magnitude * angle.sin().unsqueeze(1);
    return torch::cat({parts[0] * cosine - parts[1] * sine, parts[1] * cosine + parts[0] * sine}, -1);
  };
  auto x = w.at("token_embd.weight").index_select(0, torch::tensor(std::vector<std::int64_t>(ids.begin(), ids.end())));
  auto mask = torch::full({n, n}, -INFINITY, torch::kFloat64).triu(1);
  if (c.window > 0) mask = mask + torch::full({n, n}, -INFINITY, torch::kFloat64).tril(-c.window);
  for (std::int64_t layer = 0; layer < c.layers; ++layer) {
    const auto at = [&](const std::string& part) {
      return w.at("blk." + std::to_string(layer) + "." + part + ".weight");
    };
    auto h = norm(x, at("attn_norm"));
    const auto project = [&](const std::string& part, std::int64_t heads) {
      auto y = h.matmul(at(part).t());
      if (c.qkv_bias) y = y + w.at("blk." + std::to_string(layer) + "." + part + ".bias");
      return y.view({n, heads, c.head_dim});
    };
    auto q = project("attn_q", c.heads);
    auto k = project("attn_k", c.kv_heads);
    auto v = project("attn_v", c.kv_heads);
    if (c.qk_norm) {
      q = norm(q, at("attn_q_norm"));
      k = norm(k, at("attn_k_norm"));
    }
    q = rotate(q);
    k = rotate(k);
    k = k.repeat_interleave(c.heads / c.kv_heads, 1);
    v = v.repeat_interleave(c.heads / c.kv_heads, 1);
    auto score = torch::einsum("ihd,jhd->hij", {q, k}) / std::sqrt(static_cast<double>(c.head_dim)) + mask;
    auto a = torch::einsum("hij,jhd->ihd", {score.softmax(-1), v}).reshape({n, c.heads * c.head_dim});
    x = x + a.matmul(at("attn_output").t());
    h = norm(x, at("ffn_norm"));
    x = x + (torch::silu(h.matmul(at("ffn_gate").t())) * h.matmul(at("ffn_up").t())).matmul(at("ffn_down").t());
  }
  return norm(x, w.at("output_norm.weight"));
}

std::map<std::string, torch::Tensor> fp64(const DecoderConfig& config, bool gradients = false) {
  std::map<std::string, torch::Tensor> result;
  for (auto& [name, tensor] : draw_tensors(config)) {
    result[name] = tensor.to(torch::kFloat64).set_requires_grad(gradients);
  }
  return result;
}

double difference(const torch::Tensor& a, const torch::Tensor& b) {
  return (a.to(torch::kFloat64) - b.to(torch::kFloat64)).abs().max().item<double>();
}

const std::vector<std::int32_t> kFirst = {3, 14, 15, 9, 26, 5, 35, 8, 9, 7};
const std::vector<std::int32_t> kSecond = {2, 7, 18, 28, 1, 8};
const std::vector<std::int32_t> kThird = {31};

// Row 0: first, second; row 1: third, second, padding.
TokenBatch packed_batch() {
  TokenBatch batch;
  batch.ids = torch::zeros({2, 16}, torch::kInt64);
  batch.positions = torch::zeros({2, 16}, torch::kInt64);
  batch.documents = torch::full({2, 16}, -1, torch::kInt64);
  const auto put = [&](std::int64_t row, std::int64_t begin, const std::vector<std::int32_t>& ids, int document) {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const auto column = begin + static_cast<std::int64_t>(i);
      batch.ids[row][column] = ids[i];
      batch.positions[row][column] = static_cast<std::int64_t>(i);
      batch.documents[row][column] = document;
    }
  };
  put(0, 0, kFirst, 0);
  put(0, 10, kSecond, 1);
  put(1, 0, kThird, 0);
  put(1, 1, kSecond, 1);
  return batch;
}

TEST(Decoder, ForwardIsTheFormulae) {
  for (const auto& config : variants()) {
    SCOPED_TRACE(text_of(config));
    const Decoder decoder = make(config);
    const auto hidden = decoder.forward(single_document(kFirst));
    EXPECT_EQ(hidden.sizes(), (c10::IntArrayRef{1, 10, 32}));
    EXPECT_LT(difference(hidden.squeeze(0), reference(config, fp64(config), kFirst)), 2e-5);
  }
}

TEST(Decoder, PackedDocumentsDoNotSeeEachOther) {
  const Decoder decoder = make(variants().back());
  const auto packed = decoder.forward(packed_batch());
  const auto first = decoder.forward(single_document(kFirst)).squeeze(0);
  const auto second = decoder.forward(single_document(kSecond)).squeeze(0);
  const auto third = decoder.forward(single_document(kThird)).squeeze(0);
  EXPECT_LT(difference(packed.index({0, Slice(0, 10)}), first), 1e-5);
  EXPECT_LT(difference(packed.index({0, Slice(10, 16)}), second), 1e-5);
  EXPECT_LT(difference(packed.index({1, Slice(0, 1)}), third), 1e-5);
  EXPECT_LT(difference(packed.index({1, Slice(1, 7)}), second), 1e-5);
  EXPECT_TRUE(torch::isfinite(packed).all().item<bool>());
}

TEST(Decoder, GradientsAreThoseOfTheFormulae) {
  for (const auto& config : variants()) {
    SCOPED_TRACE(text_of(config));
    Decoder decoder = make(config);
    decoder.set_requires_grad(true);
    torch::manual_seed(3);
    const auto first_weights = torch::randn({10, 32}, torch::kFloat64);
    const auto second_weights = torch::randn({6, 32}, torch::kFloat64);
    const auto hidden = decoder.forward(packed_batch());
    auto incoming = torch::zeros({2, 16, 32}, torch::kFloat32);
    incoming.index_put_({0, Slice(0, 10)}, first_weights.to(torch::kFloat32));
    incoming.index_put_({1, Slice(1, 7)}, second_weights.to(torch::kFloat32));
    hidden.backward(incoming);

    auto weights = fp64(config, true);
    auto loss = (reference(config, weights, kFirst) * first_weights).sum() +
                (reference(config, weights, kSecond) * second_weights).sum();
    loss.backward();
    for (const auto& [name, tensor] : decoder.named_parameters()) {
      const auto expected = weights.at(name).grad();
      ASSERT_TRUE(tensor.grad().defined()) << name;
      const double scale = expected.abs().max().item<double>();
      EXPECT_GT(scale, 0) << name;
      EXPECT_LT(difference(tensor.grad(), expected) / scale, 3e-5) << name;
    }
  }
}

// BF16 gradients point where the exact ones do.
TEST(Decoder, Bf16GradientsAgreeInDirection) {
  for (const auto& config : variants()) {
    SCOPED_TRACE(text_of(config));
    Decoder decoder = make(config, ComputeType::kBFloat16);
    decoder.set_requires_grad(true);
    torch::manual_seed(3);
    const auto incoming = torch::randn({10, 32}, torch::kFloat64);
    decoder.forward(single_document(kFirst)).backward(incoming.to(torch::kBFloat16).unsqueeze(0));
    auto weights = fp64(config, true);
    (reference(config, weights, kFirst) * incoming).sum().backward();
    for (const auto& [name, tensor] : decoder.named_parameters()) {
      const auto got = tensor.grad().to(torch::kFloat64).flatten();
      const auto expected = weights.at(name).grad().flatten();
      EXPECT_GT((got.dot(expected) / (got.norm() * expected.norm())).item<double>(), 0.99) << name;
    }
  }
}

TEST(Decoder, WithAndWithoutGradientsComputeTheSame) {
  for (const auto& [config, compute] :
       {std::pair{small_config(), ComputeType::kFloat32}, std::pair{small_config(), ComputeType::kBFloat16},
        std::pair{variants().back(), ComputeType::kFloat32}, std::pair{variants().back(), ComputeType::kBFloat16}}) {
    Decoder decoder = make(config, compute);
    const auto plain = decoder.forward(packed_batch());
    std::vector<torch::Tensor> seen;
    const auto observed = decoder.forward(
        packed_batch(), [&](std::int64_t, const auto& input, const auto& output) { seen.push_back(output - input); });
    decoder.set_requires_grad(true);
    const auto recorded = decoder.forward(packed_batch());
    EXPECT_EQ(seen.size(), 3U);
    EXPECT_GT(seen[1].abs().max().item<double>(), 0);
    EXPECT_TRUE(torch::equal(plain, observed));
    const double allowed = compute == ComputeType::kFloat32 ? 1e-5 : 0.05;
    EXPECT_LT(difference(plain, recorded.detach()), allowed);
    const auto exact = reference(config, fp64(config), kFirst);
    EXPECT_LT(difference(plain.index({0, Slice(0, 10)}), exact), 4 * allowed);
  }
}

TEST(Decoder, GradientsDoNotDependOnThreads) {
  const int before = torch::get_num_threads();
  std::vector<std::map<std::string, torch::Tensor>> gradients;
  for (const int threads : {1, 2}) {
    torch::set_num_threads(threads);
    Decoder decoder = make(variants().back());
    decoder.set_requires_grad(true);
    decoder.forward(packed_batch()).sum().backward();
    auto& own = gradients.emplace_back();
    for (const auto& [name, tensor] : decoder.named_parameters()) {
      if (tensor.dim() == 1) own[name] = tensor.grad().clone();  // matrix products are libtorch's
    }
  }
  torch::set_num_threads(before);
  for (const auto& [name, gradient] : gradients[0]) EXPECT_TRUE(torch::equal(gradient, gradients[1].at(name))) << name;
}

TEST(Decoder, ExtendingEqualsReadingAtOnce) {
  for (const auto& config : variants()) {
    SCOPED_TRACE(text_of(config));
    const Decoder decoder = make(config);
    const auto whole = decoder.forward(single_document(kFirst)).squeeze(0);
    const auto other = decoder.forward(single_document(kSecond)).squeeze(0);
    KeyValueCache first;
    KeyValueCache second;
    // Four tokens of the first alone; then three of it beside two of the second; then one by one.
    std::vector<torch::Tensor> first_rows;
    std::vector<torch::Tensor> second_rows;
    const auto step = [&](std::int64_t from_first, std::int64_t from_second) {
      std::vector<std::int32_t> ids;
      std::vector<std::int64_t> counts;
      std::vector<KeyValueCache*> caches;
      for (const auto& [cache, source, count] :
           {std::tuple{&first, &kFirst, from_first}, std::tuple{&second, &kSecond, from_second}}) {
        if (count == 0) continue;
        ids.insert(ids.end(), source->begin() + cache->length, source->begin() + cache->length + count);
        counts.push_back(count);
        caches.push_back(cache);
      }
      const auto rows = decoder.extend(ids, counts, caches);
      first_rows.push_back(rows.narrow(0, 0, from_first));
      second_rows.push_back(rows.narrow(0, from_first, from_second));
    };
    step(4, 0);
    step(3, 2);
    step(1, 1);
    step(2, 3);
    EXPECT_EQ(first.length, 10);
    EXPECT_LT(difference(torch::cat(first_rows), whole), 1e-5);
    EXPECT_LT(difference(torch::cat(second_rows), other), 1e-5);
  }
}

// Longer than libtorch's attention takes keys at a time, so that some of its blocks are out of every window.
TEST(Decoder, AWindowHoldsInALongDocument) {
  auto config = small_config();
  config.window = 7;
  config.context = 1000;
  const Decoder decoder = make(config);
  std::vector<std::int32_t> ids(700);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(i * i % 50);
  const auto whole = decoder.forward(single_document(ids)).squeeze(0);
  EXPECT_LT(difference(whole, reference(config, fp64(config), ids)), 5e-5);
  KeyValueCache cache;
  const std::vector<KeyValueCache*> caches = {&cache};
  std::vector<torch::Tensor> rows;
  std::int64_t begin = 0;
  for (const std::int64_t count : {640L, 1L, 58L, 1L}) {
    const std::vector<std::int64_t> counts = {count};
    rows.push_back(decoder.extend(
        std::span(ids).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count)), counts, caches));
    begin += count;
  }
  EXPECT_LT(difference(torch::cat(rows), whole), 2e-5);
}

TEST(Decoder, KeepLayersIsTheModelWithoutTheOthers) {
  auto config = variants().back();
  config.tied_head = false;
  const Decoder decoder = make(config);
  const std::vector<std::int64_t> kept = {0, 2};
  const auto cut = decoder.keep_layers(kept);
  ASSERT_TRUE(cut);
  EXPECT_EQ(cut->config().source_layers, kept);
  auto weights = fp64(config);
  for (const auto& name : tensor_names(config)) {
    if (name.starts_with("blk.2.")) weights["blk.1." + name.substr(6)] = weights.at(name);
  }
  EXPECT_LT(difference(cut->forward(single_document(kFirst)).squeeze(0), reference(cut->config(), weights, kFirst)),
            2e-5);
  // Own copies.
  cut->head_weight().mul(2);
  auto head = cut->head_weight();
  head.zero_();
  EXPECT_GT(decoder.head_weight().abs().sum().item<double>(), 0);
  for (const auto& bad : std::vector<std::vector<std::int64_t>>{{}, {1, 0}, {0, 0}, {0, 3}, {-1}}) {
    EXPECT_FALSE(decoder.keep_layers(bad));
  }
}

TEST(Decoder, WritingToAParameterChangesTheModel) {
  const torch::NoGradGuard no_gradient;
  Decoder decoder = make(small_config());
  const auto before = decoder.forward(single_document(kFirst)).clone();
  for (auto& [name, tensor] : decoder.named_parameters()) {
    if (name == "blk.1.attn_k.weight" || name == "blk.0.ffn_up.weight") tensor.mul_(2);
  }
  EXPECT_GT(difference(decoder.forward(single_document(kFirst)), before), 1e-3);
}

TEST(Decoder, ATiedHeadIsOneParameter) {
  const auto tied = make(small_config(true)).named_parameters();
  const auto untied = make(small_config(false)).named_parameters();
  EXPECT_EQ(tied.size() + 1, untied.size());
  EXPECT_EQ(tied.back().name, "output_norm.weight");
  EXPECT_EQ(untied.back().name, "output.weight");
}

TEST(Decoder, RefusesTensorsThatDoNotFit) {
  const auto config = small_config();
  auto tensors = draw_tensors(config);
  tensors[2].tensor = torch::full_like(tensors[2].tensor, std::nan(""));
  auto refused = Decoder::from_tensors(config, tensors, ComputeType::kFloat32);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("'blk.0.attn_q.weight' holds NaN"));
  tensors = draw_tensors(config);
  tensors.pop_back();
  EXPECT_THAT(Decoder::from_tensors(config, tensors, ComputeType::kFloat32).error().message,
              HasSubstr("'output_norm.weight' is missing"));
  tensors = draw_tensors(config);
  tensors.push_back({"output.weight", torch::zeros({kVocabulary, 32})});
  EXPECT_THAT(Decoder::from_tensors(config, tensors, ComputeType::kFloat32).error().message,
              HasSubstr("'output.weight' is not part"));
}

TEST(RotaryLayout, InversesOfEachOther) {
  Random random(1);
  std::vector<float> values(3 * 8 * 5);
  for (auto& value : values) value = static_cast<float>(random.normal());
  const auto half_split = interleaved_to_half_split(values, 3, 8);
  EXPECT_NE(half_split, values);
  EXPECT_EQ(half_split_to_interleaved(half_split, 3, 8), values);
  EXPECT_EQ(interleaved_to_half_split(half_split_to_interleaved(values, 3, 8), 3, 8), values);
  // Rows 0, 1, 2, 3 of a head of four: pairs (0, 1) and (2, 3) become (0, 2) and (1, 3).
  EXPECT_EQ(interleaved_to_half_split(std::vector<float>{0, 1, 2, 3}, 1, 4), (std::vector<float>{0, 2, 1, 3}));
  DecoderConfig config = small_config();
  EXPECT_EQ(interleaved_heads(config, "blk.12.attn_q.weight"), 4);
  EXPECT_EQ(interleaved_heads(config, "blk.12.attn_k.bias"), 2);
  EXPECT_EQ(interleaved_heads(config, "blk.12.attn_v.weight"), 0);
  EXPECT_EQ(interleaved_heads(config, "blk.12.attn_q_norm.weight"), 0);
  config.architecture = "qwen2";
  EXPECT_EQ(interleaved_heads(config, "blk.12.attn_q.weight"), 0);
}

class FileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        std::filesystem::temp_directory_path() / ("retort_model_" + std::to_string(::getpid()) + "_" +
                                                  ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  gguf::File tiny(const gguf::testing::TinyModelOptions& options = {}) {
    const auto path = folder_ / "tiny.gguf";
    const auto written = gguf::testing::write_tiny_model(path, options);
    RETORT_CHECK(written.has_value());
    auto file = gguf::File::open(path);
    RETORT_CHECK(file.has_value());
    return std::move(*file);
  }
  // The tiny model again, changed: metadata by `edit`, plus one more tensor when named, and one value replaced.
  std::string refusal(const std::function<void(gguf::Metadata&)>& edit, const std::string& more = "",
                      const std::string& broken = "") {
    const auto file = tiny();
    auto metadata = file.metadata();
    if (edit) edit(metadata);
    gguf::Writer writer(metadata);
    for (const auto& tensor : file.tensors()) {
      if (tensor.name == broken) {
        // The Writer refuses NaN, so its bytes are given as they are.
        writer.add_bytes(tensor.name, tensor.shape, tensor.type, [&]() -> Result<std::span<const std::byte>> {
          broken_ = *file.floats(tensor);
          broken_[3] = std::nanf("");
          return std::as_bytes(std::span<const float>(broken_));
        });
      } else {
        writer.add_bytes(tensor.name, tensor.shape, tensor.type,
                         [&]() -> Result<std::span<const std::byte>> { return file.bytes(tensor); });
      }
    }
    if (!more.empty()) {
      writer.add(more, {4}, gguf::TensorType::kF32,
                 [] { return Result<std::vector<float>>(std::vector<float>(4, 1)); });
    }
    const auto path = folder_ / "edited.gguf";
    const auto written = writer.write(path);
    if (!written) return "not written: " + written.error().message;
    const auto edited = gguf::File::open(path);
    if (!edited) return "not opened: " + edited.error().message;
    const auto decoder = Decoder::from_gguf(*edited, {});
    if (decoder) return "accepted";
    EXPECT_EQ(decoder.error().fault, Fault::kCaller);
    return decoder.error().message;
  }
  std::filesystem::path folder_;
  std::vector<float> broken_;
};

TEST_F(FileTest, LoadsEveryKindOfTinyModel) {
  for (const bool tied : {true, false}) {
    gguf::testing::TinyModelOptions options;
    options.tied_head = tied;
    options.rope_freqs = !tied;
    const auto file = tiny(options);
    const auto decoder = Decoder::from_gguf(file, {});
    ASSERT_TRUE(decoder) << decoder.error().message;
    EXPECT_EQ(decoder->config().tied_head, tied);
    EXPECT_EQ(decoder->config().rope_factors.empty(), tied);
    EXPECT_EQ(decoder->config().layers, 2);
  }
}

TEST_F(FileTest, LoadingSomeLayersEqualsCutting) {
  const auto file = tiny();
  const auto whole = Decoder::from_gguf(file, {});
  ASSERT_TRUE(whole);
  const std::vector<std::int64_t> layers = {1};
  const auto cut = whole->keep_layers(layers);
  const auto loaded =
      Decoder::from_gguf(file, {.compute = ComputeType::kFloat32, .backend = Backend::kKernels, .layers = layers});
  ASSERT_TRUE(cut);
  ASSERT_TRUE(loaded);
  EXPECT_EQ(cut->config(), loaded->config());
  const auto batch = single_document(std::vector<std::int32_t>{4, 5, 6, 7});
  EXPECT_TRUE(torch::equal(cut->forward(batch), loaded->forward(batch)));
}

TEST_F(FileTest, EveryKeyAndTensorIsConsumedOrRefused) {
  EXPECT_EQ(refusal(nullptr), "accepted");
  const auto with = [](const std::string& key, gguf::Value value) {
    return [=](gguf::Metadata& metadata) { metadata.set(key, value); };
  };
  EXPECT_EQ(refusal(with("llama.attention.sliding_window", std::uint32_t{128})), "accepted");
  EXPECT_EQ(decoder_config(*gguf::File::open(folder_ / "edited.gguf"))->window, 128);
  EXPECT_EQ(refusal(with("llama.attention.sliding_window", std::uint32_t{0})), "accepted");
  EXPECT_THAT(refusal(with("qwen2.attention.head_count", std::uint32_t{4})), HasSubstr("'qwen2.attention.head_count'"));
  EXPECT_THAT(refusal(with("llama.attention.softcap_of_tomorrow", 30.0F)), HasSubstr("softcap_of_tomorrow"));
  EXPECT_THAT(refusal(with("llama.rope.scaling.type", std::string("longrope"))), HasSubstr("'longrope'"));
  EXPECT_THAT(refusal(with("llama.rope.scaling.yarn_beta_slow", 2.0F)), HasSubstr("yarn_beta_slow"));
  EXPECT_THAT(refusal(with("llama.expert_count", std::uint32_t{8})), HasSubstr("'llama.expert_count'"));
  EXPECT_THAT(refusal(with("general.architecture", std::string("gemma"))), HasSubstr("'gemma' is not supported"));
  EXPECT_THAT(refusal(with("llama.attention.head_count_kv", std::uint32_t{3})), HasSubstr("expected a divisor"));
  EXPECT_THAT(refusal(with("llama.feed_forward_length", std::uint32_t{64})), HasSubstr("has the shape"));
  EXPECT_THAT(refusal(with("llama.block_count", std::uint32_t{3})), HasSubstr("'blk.2.attn_norm.weight' is missing"));
  EXPECT_THAT(refusal(with("llama.block_count", std::uint32_t{1})), HasSubstr("is not part of a plain decoder"));
  EXPECT_THAT(refusal(nullptr, "blk.0.attn_q.bias"), HasSubstr("'blk.0.attn_q.bias'"));
  EXPECT_THAT(refusal(nullptr, "", "blk.1.ffn_up.weight"), HasSubstr("'blk.1.ffn_up.weight' holds NaN"));
}

TEST_F(FileTest, ScalingOfTheRotationIsRead) {
  using Options = gguf::testing::TinyModelOptions;
  const auto linear = decoder_config(tiny({.rope_scaling = "linear"}));
  ASSERT_TRUE(linear) << linear.error().message;
  EXPECT_EQ(linear->rope_scale, 4.0);
  EXPECT_EQ(linear->yarn_context, 0);
  EXPECT_EQ(linear->rope_magnitude, 1.0);
  const auto yarn = decoder_config(tiny(Options{.rope_scaling = "yarn", .rope_original_context = 128}));
  ASSERT_TRUE(yarn) << yarn.error().message;
  EXPECT_EQ(yarn->yarn_context, 128);
  EXPECT_DOUBLE_EQ(yarn->rope_magnitude, 1 + 0.1 * std::log(4.0));
  // The model's own context where the file doesn't say.
  EXPECT_EQ(decoder_config(tiny({.rope_scaling = "yarn"}))->yarn_context, 512);
  EXPECT_EQ(decoder_config(tiny({.rope_scaling = "none"}))->rope_scale, 1.0);
}

TEST_F(FileTest, HyperparametersComeBackAsTheyWere) {
  auto config = variants().back();
  config.layers = 2;
  config.source_layers = {0, 1};
  config.rms_epsilon = static_cast<double>(1e-6F);
  config.rope_factors = {};  // a tensor, not a key
  config.rope_magnitude = yarn_magnitude(config.rope_scale);
  for (const auto* architecture : {"qwen3", "llama"}) {
    config.architecture = architecture;
    config.qk_norm = config.architecture == "qwen3";
    gguf::Metadata metadata = gguf::testing::tiny_vocabulary();
    metadata.set("llama.attention.sliding_window", std::uint32_t{999});
    set_hyperparameters(config, metadata);
    gguf::Writer writer(metadata);
    for (const auto& name : tensor_names(config)) {
      auto shape = tensor_shape(config, name);
      std::reverse(shape.begin(), shape.end());
      const auto count = std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
      writer.add(name, shape, gguf::TensorType::kF32,
                 [=] { return Result<std::vector<float>>(std::vector<float>(static_cast<std::size_t>(count), 1)); });
    }
    ASSERT_TRUE(writer.write(folder_ / "h.gguf"));
    const auto again = decoder_config(*gguf::File::open(folder_ / "h.gguf"));
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(*again, config) << to_json(*again).dump() << "\n" << to_json(config).dump();
  }
}

TEST_F(FileTest, VocabularyOnlyFileIsRefused) {
  gguf::testing::TinyModelOptions options;
  options.weights = false;
  const auto config = decoder_config(tiny(options));
  ASSERT_FALSE(config);
  EXPECT_THAT(config.error().message, ::testing::AnyOf(HasSubstr("only a vocabulary"), HasSubstr("missing")));
}

TEST_F(FileTest, WeightsComeBackAsTheyWere) {
  const auto config = variants().back();
  const Decoder decoder = make(config);
  const auto path = folder_ / "weights.safetensors";
  ASSERT_TRUE(save_weights(path, config, decoder.named_parameters(), {{"step", "7"}}));
  const auto loaded = load_weights(path);
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(loaded->config, config);
  EXPECT_EQ(loaded->more, (std::map<std::string, std::string>{{"step", "7"}}));
  const auto again = Decoder::from_tensors(loaded->config, loaded->tensors, ComputeType::kFloat32);
  ASSERT_TRUE(again);
  const auto batch = single_document(kFirst);
  EXPECT_TRUE(torch::equal(again->forward(batch), decoder.forward(batch)));
  // A BF16 model's weights are stored as FP32 too.
  const Decoder half = decoder.clone(ComputeType::kBFloat16);
  ASSERT_TRUE(save_weights(path, config, half.named_parameters()));
  EXPECT_TRUE(
      torch::equal(load_weights(path)->tensors[2].tensor, half.named_parameters()[2].tensor.to(torch::kFloat32)));
}

TEST_F(FileTest, WeightsOfAnotherKindAreRefused) {
  const auto config = small_config();
  auto tensors = make(config).named_parameters();
  tensors.pop_back();
  const auto path = folder_ / "w";
  ASSERT_TRUE(save_weights(path, config, tensors));
  EXPECT_THAT(load_weights(path).error().message, HasSubstr("'output_norm.weight' is missing"));
}

}  // namespace
}  // namespace retort::model
