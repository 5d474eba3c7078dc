#include "gguf/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "base/random.h"
#include "gguf/architecture.h"
#include "gguf/testing.h"
#include "gguf/writer.h"

namespace retort::gguf {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class GgufTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("retort-gguf-" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()) +
               std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path path(const std::string& name) const { return folder_ / name; }

 private:
  std::filesystem::path folder_;
};

TEST_F(GgufTest, WhatIsWrittenIsRead) {
  Metadata metadata;
  metadata.set("general.architecture", std::string("llama"));
  metadata.set("a.bool", true);
  metadata.set("a.u64", std::uint64_t{1} << 40U);
  metadata.set("a.i8", std::int8_t{-3});
  metadata.set("a.strings", std::vector<std::string>{"x", "", "é"});
  metadata.set("a.bools", std::vector<bool>{true, false});
  metadata.set("a.floats", std::vector<float>{1.5F, -2.0F});
  Writer writer(metadata);
  writer.add("one", {3}, TensorType::kF32, []() -> Result<std::vector<float>> { return std::vector<float>{1, 2, 3}; });
  writer.add("two", {32, 2}, TensorType::kQ8_0, []() -> Result<std::vector<float>> {
    std::vector<float> values(64);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) - 20.0F;
    return values;
  });
  ASSERT_TRUE(writer.write(path("a.gguf")));
  const auto file = File::open(path("a.gguf"));
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->version(), 3U);
  EXPECT_EQ(file->metadata().keys(), metadata.keys());
  for (const auto& [key, value] : metadata.entries()) EXPECT_EQ(*file->metadata().find_value(key), value) << key;
  EXPECT_EQ(file->metadata().get<std::int64_t>("a.i8"), -3);
  EXPECT_FALSE(file->metadata().get<std::uint32_t>("a.i8"));
  EXPECT_FALSE(file->metadata().get<std::uint32_t>("a.u64"));
  EXPECT_FALSE(file->metadata().get<std::string>("a.bool"));
  EXPECT_FALSE(file->metadata().find<bool>("absent").value().has_value());
  ASSERT_NE(file->find("two"), nullptr);
  EXPECT_EQ(file->find("three"), nullptr);
  EXPECT_THAT(file->floats(*file->find("one")).value(), ElementsAre(1, 2, 3));
  const auto two = file->floats(*file->find("two"));
  ASSERT_TRUE(two);
  for (std::size_t i = 0; i < two->size(); ++i) EXPECT_NEAR((*two)[i], static_cast<float>(i) - 20.0F, 0.2F);
  const auto second_row = file->floats(*file->find("two"), 1, 1);
  EXPECT_EQ(std::vector<float>(two->begin() + 32, two->end()), *second_row);
}

TEST_F(GgufTest, EveryWritableTypeComesBackNearly) {
  Random random(7);
  std::vector<float> values(512);
  for (float& value : values) value = static_cast<float>(random.normal());
  double norm = 0;
  for (const float value : values) norm += value * value;
  int types = 0;
  for (std::uint32_t number = 0; number < 64; ++number) {
    const auto type = tensor_type_from_number(number);
    if (!type || !can_quantise_to(*type)) continue;
    ++types;
    EXPECT_EQ(tensor_type_from_name(name_of(*type)).value(), *type);
    const auto bytes = quantise(values, 256, *type);
    ASSERT_TRUE(bytes) << name_of(*type);
    EXPECT_EQ(bytes->size(), 2 * row_bytes(*type, 256));
    const auto back = dequantise(*bytes, 256, *type);
    ASSERT_TRUE(back) << name_of(*type);
    double error = 0;
    for (std::size_t i = 0; i < values.size(); ++i) error += std::pow((*back)[i] - values[i], 2);
    EXPECT_LT(std::sqrt(error / norm), *type == TensorType::kF32 ? 1e-12 : 0.45) << name_of(*type);
  }
  EXPECT_GE(types, 12);
}

TEST_F(GgufTest, RowsThatDontFitTheBlocks) {
  // The quickstart's teacher has rows of 576, K-quants blocks of 256.
  EXPECT_EQ(fitting_type(TensorType::kQ4_K, 576), TensorType::kQ8_0);
  EXPECT_EQ(fitting_type(TensorType::kQ4_K, 512), TensorType::kQ4_K);
  EXPECT_EQ(fitting_type(TensorType::kQ8_0, 576), TensorType::kQ8_0);
  EXPECT_EQ(fitting_type(TensorType::kQ8_0, 33), TensorType::kF16);
  // Embedding and head stay at 8 bits; vectors at F32.
  const std::vector<std::int64_t> matrix = {576, 10};
  EXPECT_EQ(stored_type("token_embd.weight", matrix, TensorType::kQ4_0), TensorType::kQ8_0);
  EXPECT_EQ(stored_type("token_embd.weight", matrix, TensorType::kF16), TensorType::kF16);
  EXPECT_EQ(stored_type("blk.0.attn_q.weight", matrix, TensorType::kQ4_0), TensorType::kQ4_0);
  EXPECT_EQ(stored_type("output_norm.weight", std::vector<std::int64_t>{576}, TensorType::kQ4_0), TensorType::kF32);
  const auto refused = quantise(std::vector<float>(576), 576, TensorType::kQ4_K);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("blocks hold 256"));
}

TEST_F(GgufTest, TinyModelPassesTheCheck) {
  for (const bool tied : {true, false}) {
    testing::TinyModelOptions options;
    options.tied_head = tied;
    options.rope_freqs = !tied;
    options.type = tied ? TensorType::kQ4_1 : TensorType::kF16;
    ASSERT_TRUE(testing::write_tiny_model(path("tiny.gguf"), options));
    const auto file = File::open(path("tiny.gguf"));
    ASSERT_TRUE(file) << file.error().message;
    const auto checked = check_model(*file);
    EXPECT_TRUE(checked) << checked.error().message;
    EXPECT_TRUE(file->check_finite());
    EXPECT_EQ(file->file_type_name(), tied ? "Q4_1" : "F16");
  }
}

TEST_F(GgufTest, ConvertKeepsMetadataAndNearlyTheValues) {
  ASSERT_TRUE(testing::write_tiny_model(path("f32.gguf")));
  const auto source = File::open(path("f32.gguf"));
  ASSERT_TRUE(source);
  ASSERT_TRUE(convert(*source, TensorType::kQ8_0, path("q8.gguf")));
  const auto converted = File::open(path("q8.gguf"));
  ASSERT_TRUE(converted);
  EXPECT_TRUE(check_model(*converted));
  EXPECT_EQ(converted->metadata().keys(), source->metadata().keys());
  EXPECT_EQ(converted->metadata().get<std::uint32_t>("general.file_type"), 7U);
  EXPECT_EQ(converted->file_type_name(), "Q8_0");
  for (const TensorInfo& tensor : source->tensors()) {
    const auto before = source->floats(tensor);
    const auto after = converted->floats(*converted->find(tensor.name));
    ASSERT_EQ(before->size(), after->size());
    for (std::size_t i = 0; i < before->size(); ++i) EXPECT_NEAR((*before)[i], (*after)[i], 0.02F);
  }
  EXPECT_FALSE(convert(*source, TensorType::kI8, path("i8.gguf")));
  EXPECT_FALSE(std::filesystem::exists(path("i8.gguf")));
}

TEST_F(GgufTest, NonFiniteWeightsAreNamed) {
  for (const TensorType type : {TensorType::kF32, TensorType::kF16, TensorType::kBF16, TensorType::kQ8_0}) {
    ASSERT_TRUE(testing::write_tiny_model(path("good.gguf"), {.type = type}));
    const auto good = File::open(path("good.gguf"));
    ASSERT_TRUE(good);
    Writer writer(good->metadata());
    std::vector<std::byte> bad;
    for (const TensorInfo& tensor : good->tensors()) {
      writer.add_bytes(tensor.name, tensor.shape, tensor.type, [&]() -> Result<std::span<const std::byte>> {
        if (tensor.name != "blk.1.ffn_up.weight") return good->bytes(tensor);
        const auto bytes = good->bytes(tensor);
        bad.assign(bytes.begin(), bytes.end());
        // All ones in the first value's exponent: NaN as F32, F16, BF16, and as Q8_0's block scale.
        for (std::size_t i = 0; i < (type == TensorType::kF32 ? 4U : 2U); ++i) bad[i] = std::byte{0xFF};
        return std::span<const std::byte>(bad);
      });
    }
    ASSERT_TRUE(writer.write(path("bad.gguf")));
    const auto file = File::open(path("bad.gguf"));
    ASSERT_TRUE(file);
    const auto checked = file->check_finite();
    ASSERT_FALSE(checked) << name_of(type);
    EXPECT_EQ(checked.error().fault, Fault::kCaller);
    EXPECT_THAT(checked.error().message, HasSubstr("blk.1.ffn_up.weight"));
    EXPECT_THAT(checked.error().message, HasSubstr("NaN"));
  }
}

TEST_F(GgufTest, WriterRefusesWhatItCantStore) {
  const auto write = [&](std::vector<std::int64_t> shape, TensorType type, std::vector<float> values) {
    Writer writer{Metadata()};
    writer.add("t", std::move(shape), type, [=]() -> Result<std::vector<float>> { return values; });
    return writer.write(path("w.gguf"));
  };
  EXPECT_TRUE(write({2}, TensorType::kF32, {1, 2}));
  std::filesystem::remove(path("w.gguf"));
  EXPECT_FALSE(write({3}, TensorType::kF32, {1, 2}));
  EXPECT_FALSE(write({2}, TensorType::kF32, {1, std::numeric_limits<float>::quiet_NaN()}));
  EXPECT_FALSE(write({2}, TensorType::kF16, {1, 1e6F}));
  EXPECT_FALSE(write({33}, TensorType::kQ8_0, std::vector<float>(33)));
  EXPECT_FALSE(std::filesystem::exists(path("w.gguf")));
  Writer twice{Metadata()};
  for (int i = 0; i < 2; ++i) {
    twice.add("same", {1}, TensorType::kF32, []() -> Result<std::vector<float>> { return std::vector<float>{1}; });
  }
  EXPECT_FALSE(twice.write(path("w.gguf")));
}

TEST_F(GgufTest, UnsupportedModelsAreRefusedByName) {
  const auto refusal = [&](const testing::TinyModelOptions& options, const auto& change) {
    EXPECT_TRUE(testing::write_tiny_model(path("base.gguf"), options));
    const auto base = File::open(path("base.gguf"));
    Metadata metadata = base->metadata();
    change(metadata);
    Writer writer(metadata);
    for (const TensorInfo& tensor : base->tensors()) {
      writer.add_bytes(tensor.name, tensor.shape, tensor.type,
                       [&]() -> Result<std::span<const std::byte>> { return base->bytes(tensor); });
    }
    EXPECT_TRUE(writer.write(path("changed.gguf")));
    const auto file = File::open(path("changed.gguf"));
    const auto checked = check_model(*file);
    return checked ? std::string("accepted") : checked.error().message;
  };
  const auto set = [](std::string key, Value value) { return [=](Metadata& m) { m.set(key, value); }; };
  EXPECT_EQ(refusal({}, [](Metadata&) {}), "accepted");
  EXPECT_THAT(refusal({.architecture = "qwen2moe"}, [](Metadata&) {}), HasSubstr("'qwen2moe'"));
  EXPECT_EQ(refusal({.architecture = "qwen2"}, [](Metadata&) {}), "accepted");
  EXPECT_EQ(refusal({.head_dim = 32, .architecture = "qwen3"}, [](Metadata&) {}), "accepted");
  // llama.cpp reads other shapes from these files than the file has.
  EXPECT_THAT(refusal({.head_dim = 32, .architecture = "qwen2"}, [](Metadata&) {}), HasSubstr("make 128"));
  EXPECT_THAT(refusal({.rope_freqs = true, .architecture = "qwen3"}, [](Metadata&) {}), HasSubstr("rope_freqs"));
  EXPECT_THAT(refusal({.architecture = "qwen3"}, set("general.architecture", std::string("llama"))),
              HasSubstr("llama.block_count"));
  EXPECT_THAT(refusal({}, set("llama.rope.scaling.yarn_beta_fast", 16.0F)), HasSubstr("yarn_beta_fast"));
  EXPECT_EQ(refusal({}, set("llama.rope.scaling.yarn_beta_fast", 32.0F)), "accepted");
  EXPECT_THAT(refusal({.weights = false}, [](Metadata&) {}), HasSubstr("no weights"));
  EXPECT_THAT(refusal({}, set("llama.block_count", std::uint32_t{1})), HasSubstr("blk.1."));
  EXPECT_THAT(refusal({}, set("llama.block_count", std::uint32_t{3})), HasSubstr("missing"));
  EXPECT_THAT(refusal({}, set("llama.block_count", std::uint32_t{100000})), HasSubstr("block_count"));
  EXPECT_THAT(refusal({}, set("llama.block_count", std::string("2"))), HasSubstr("block_count"));
  EXPECT_THAT(refusal({}, set("llama.feed_forward_length", std::uint32_t{95})), HasSubstr("95"));
  EXPECT_THAT(refusal({}, set("llama.attention.head_count_kv", std::uint32_t{3})), HasSubstr("multiple"));
  EXPECT_THAT(refusal({}, set("llama.expert_count", std::uint32_t{8})), HasSubstr("experts"));
  EXPECT_THAT(refusal({}, set("llama.rope.scaling.type", std::string("longrope"))), HasSubstr("longrope"));
  EXPECT_THAT(refusal({}, set("llama.attention.layer_norm_rms_epsilon", 0.0F)), HasSubstr("epsilon"));
  EXPECT_THAT(refusal({}, set("llama.rope.dimension_count", std::uint32_t{8})), HasSubstr("dimension_count"));
  // llama.cpp would abort on this one.
  EXPECT_THAT(refusal({}, set("llama.nextn_predict_layers", std::uint32_t{7})), HasSubstr("nextn_predict_layers"));
  EXPECT_EQ(refusal({}, set("llama.attention.sliding_window", std::uint32_t{128})), "accepted");
  EXPECT_EQ(sliding_window(*File::open(path("changed.gguf"))), 128);
  EXPECT_THAT(refusal({}, set("llama.attention.sliding_window", std::int32_t{-1})), HasSubstr("sliding_window"));
  EXPECT_EQ(refusal({}, set("llama.attention.sliding_window", std::uint32_t{0})), "accepted");
  EXPECT_THAT(refusal({}, set("llama.rope.scaling.factor", -1.0F)), HasSubstr("factor"));
  EXPECT_THAT(refusal({}, set("split.count", std::uint16_t{2})), HasSubstr("split"));
  EXPECT_THAT(refusal({}, set("tokenizer.ggml.token_type", std::vector<std::int32_t>{1})), HasSubstr("token_type"));
  EXPECT_THAT(refusal({}, set("tokenizer.ggml.tokens", std::vector<std::string>{"a", "a"})), HasSubstr("same text"));
  EXPECT_THAT(refusal({}, set("tokenizer.ggml.tokens", std::int32_t{4})), HasSubstr("array of strings"));
  EXPECT_THAT(refusal({}, set("tokenizer.ggml.pre", std::string("whitespace"))), HasSubstr("whitespace"));
  EXPECT_THAT(refusal({}, set("tokenizer.ggml.model", std::string("none"))), HasSubstr("'none'"));
  EXPECT_THAT(refusal({}, [](Metadata& m) { m.remove("general.architecture"); }), HasSubstr("general.architecture"));
}

TEST_F(GgufTest, TheTeacherOpens) {
  const std::filesystem::path teacher = RETORT_MODELS_DIR "/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!std::filesystem::exists(teacher)) GTEST_SKIP() << teacher << " isn't there; run `make setup` to fetch it";
  const auto file = File::open(teacher);
  ASSERT_TRUE(file) << file.error().message;
  const auto checked = check_model(*file);
  EXPECT_TRUE(checked) << checked.error().message;
  EXPECT_EQ(file->file_type_name(), "Q4_1");
  EXPECT_EQ(file->tensors().size(), 272U);
  EXPECT_EQ(file->metadata().get<std::string>("general.license"), "apache-2.0");
  EXPECT_TRUE(file->check_finite());
}

}  // namespace
}  // namespace retort::gguf
