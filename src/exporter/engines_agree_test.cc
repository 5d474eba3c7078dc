// The whole way of an export: libtorch's decoder, the file written from its weights, llama.cpp's answer to it.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "exporter/made_for_test.h"
#include "exporter/proof.h"
#include "exporter/student_file.h"
#include "llama/engine.h"
#include "model/decoder.h"
#include "model/torch_scorer.h"

namespace retort::exporter {
namespace {

class EnginesAgreeTest : public FolderTest {
 protected:
  Result<Agreement> measure(const gguf::File& teacher, gguf::TensorType type) {
    const std::vector<std::int64_t> layers = {0, 1, 3};
    RETORT_ASSIGN(model::Decoder decoder,
                  model::Decoder::from_gguf(teacher, {.compute = model::ComputeType::kFloat32, .layers = layers}));
    // "Train" it, so that what is exported isn't what was loaded.
    torch::manual_seed(3);
    for (const model::NamedTensor& parameter : decoder.named_parameters()) {
      parameter.tensor.add_(torch::randn_like(parameter.tensor), 0.02);
    }
    Student student;
    student.config = decoder.config();
    student.values = [&](const std::string& name) -> Result<std::vector<float>> {
      for (const model::NamedTensor& parameter : decoder.named_parameters()) {
        if (parameter.name != name) continue;
        const torch::Tensor values = parameter.tensor.to(torch::kFloat32).contiguous();
        return std::vector<float>(values.const_data_ptr<float>(), values.const_data_ptr<float>() + values.numel());
      }
      return caller_error("no tensor " + name);
    };
    RETORT_TRY(write_student(teacher, student, made_metadata(teacher, layers), type, path("student.gguf")));
    llama::EngineOptions options;
    options.context_tokens = 256;
    options.threads = 1;
    options.parallel = 1;
    if (type == gguf::TensorType::kF32) {
      options.kv = llama::KvType::kF32;
      options.flash_attention = false;
    }
    RETORT_ASSIGN(const auto engine, llama::Engine::open(path("student.gguf"), options));
    model::TorchScorer trained(std::move(decoder));
    std::vector<std::vector<TokenId>> sequences(2);
    for (TokenId i = 0; i < 40; ++i) sequences[0].push_back(3 + i * 7 % 250);
    for (TokenId i = 0; i < 60; ++i) sequences[1].push_back(1 + i * 11 % 270);
    SilentProgress progress;
    return compare(trained, *engine, sequences, progress, {});
  }
};

TEST_F(EnginesAgreeTest, WithinTheToleranceOfTheirType) {
  const std::vector<gguf::testing::TinyModelOptions> families = {
      {},
      {.tied_head = false, .rope_freqs = true},
      {.qkv_bias = true},
      {.architecture = "qwen2"},
      {.head_dim = 32, .rope_scaling = "yarn", .rope_original_context = 32, .architecture = "qwen3"}};
  for (const auto& family : families) {
    const gguf::File teacher = make_teacher(family);
    for (const gguf::TensorType type : {gguf::TensorType::kF32, gguf::TensorType::kF16, gguf::TensorType::kQ8_0}) {
      const auto agreement = measure(teacher, type);
      ASSERT_TRUE(agreement) << agreement.error().message;
      EXPECT_EQ(agreement->positions, 98);
      const auto checked = check_agreement(*agreement, type, "student.gguf");
      EXPECT_TRUE(checked) << gguf::name_of(type) << " " << checked.error().message;
      RecordProperty("mean_difference_" + std::string(gguf::name_of(type)), std::to_string(agreement->mean_difference));
      RecordProperty("max_difference_" + std::string(gguf::name_of(type)), std::to_string(agreement->max_difference));
    }
  }
}

}  // namespace
}  // namespace retort::exporter
