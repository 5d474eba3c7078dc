// The decoder against llama.cpp on the same file: FP32 weights, FP32 KV cache, no flash attention.
//
// Quantised files are not compared here: llama.cpp quantises activations too, so they are compared by KL elsewhere.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "gguf/file.h"
#include "gguf/testing.h"
#include "gguf/writer.h"
#include "llama/engine.h"
#include "model/torch_generator.h"
#include "model/torch_scorer.h"
#include "tokens/tokenizer.h"

namespace retort::model {
namespace {

constexpr std::size_t kContext = 256;
const char* const kTeacher = RETORT_MODELS_DIR "/SmolLM2-135M-Instruct.Q4_1.gguf";

class Folder {
 public:
  Folder() : path_(std::filesystem::temp_directory_path() / ("retort_parity_" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// Greedy answers by tag.
class Greedy final : public GenerationJob {
 public:
  Greedy(const std::vector<std::vector<TokenId>>& prompts, std::int32_t tokens) : prompts_(prompts), tokens_(tokens) {}
  std::optional<TokenRequest> next() override {
    if (given_ == prompts_.size()) return std::nullopt;
    TokenRequest request;
    request.tag = given_;
    request.prompt_ids = prompts_[given_++];
    request.sampling.temperature = 0;
    request.sampling.max_tokens = tokens_;
    return request;
  }
  Result<void> finished(std::uint64_t tag, TokenCompletion completion) override {
    answers[tag] = std::move(completion.ids);
    return {};
  }
  std::map<std::uint64_t, std::vector<TokenId>> answers;

 private:
  const std::vector<std::vector<TokenId>>& prompts_;
  std::int32_t tokens_;
  std::size_t given_ = 0;
};

std::vector<std::vector<double>> log_probabilities(Scorer& scorer, const std::vector<TokenId>& ids) {
  std::vector<std::vector<double>> result;
  const auto scored = scorer.score(ids, 0, [&](const LogitRows& rows) -> Result<void> {
    for (std::size_t r = 0; r < rows.rows; ++r) {
      const auto row = rows.row(r);
      const double largest = *std::max_element(row.begin(), row.end());
      double sum = 0;
      for (const float logit : row) sum += std::exp(logit - largest);
      const double normaliser = largest + std::log(sum);
      std::vector<double> values;
      values.reserve(row.size());
      for (const float logit : row) values.push_back(logit - normaliser);
      result.push_back(std::move(values));
    }
    return {};
  });
  EXPECT_TRUE(scored) << scored.error().message;
  return result;
}

struct Difference {
  double mean = 0;
  double largest = 0;
};

// Over the whole vocabulary at every place of every text.
Difference compare(Scorer& a, Scorer& b, const std::vector<std::vector<TokenId>>& texts) {
  Difference result;
  double count = 0;
  for (const auto& text : texts) {
    const auto first = log_probabilities(a, text);
    const auto second = log_probabilities(b, text);
    EXPECT_EQ(first.size(), text.size());
    EXPECT_EQ(second.size(), text.size());
    for (std::size_t row = 0; row < std::min(first.size(), second.size()); ++row) {
      for (std::size_t v = 0; v < first[row].size(); ++v) {
        const double difference = std::fabs(first[row][v] - second[row][v]);
        result.mean += difference;
        result.largest = std::max(result.largest, difference);
      }
      count += static_cast<double>(first[row].size());
    }
  }
  result.mean /= count;
  return result;
}

std::unique_ptr<llama::Engine> open_engine(const std::filesystem::path& path, std::size_t parallel) {
  llama::EngineOptions options;
  options.threads = torch::get_num_threads();  // OMP_NUM_THREADS=1 keeps both pools from waiting on a busy machine
  options.context_tokens = kContext;
  options.parallel = parallel;
  options.batch_tokens = 256;
  options.kv = llama::KvType::kF32;
  options.flash_attention = false;
  auto engine = llama::Engine::open(path, options);
  if (!engine) {
    ADD_FAILURE() << engine.error().message;
    std::abort();
  }
  return std::move(*engine);
}

Decoder load(const std::filesystem::path& path) {
  const auto file = gguf::File::open(path);
  RETORT_CHECK(file.has_value());
  auto decoder = Decoder::from_gguf(*file, {});
  if (!decoder) {
    ADD_FAILURE() << decoder.error().message;
    std::abort();
  }
  return std::move(*decoder);
}

std::vector<std::vector<TokenId>> joined(const std::vector<std::vector<TokenId>>& prompts,
                                         std::map<std::uint64_t, std::vector<TokenId>>& answers) {
  auto texts = prompts;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    texts[i].insert(texts[i].end(), answers[i].begin(), answers[i].end());
  }
  return texts;
}

struct Shape {
  const char* name;
  gguf::testing::TinyModelOptions options;
};

// Every family and every option of it that llama.cpp computes.
const Shape kShapes[] = {
    {"llama, tied", {.layers = 3}},
    {"llama, untied", {.layers = 3, .tied_head = false}},
    {"llama, factors", {.layers = 3, .rope_freqs = true}},
    {"llama, wide heads, factors, untied", {.head_dim = 32, .tied_head = false, .rope_freqs = true}},
    {"llama, linear", {.rope_scaling = "linear"}},
    {"llama, yarn", {.rope_scaling = "yarn", .rope_original_context = 16}},
    {"llama, window never reached", {.window = 256}},
    {"llama with biases", {.qkv_bias = true}},
    {"qwen2, tied", {.layers = 3, .architecture = "qwen2"}},
    {"qwen2, untied, yarn",
     {.rope_theta = 1e6,
      .rope_scaling = "yarn",
      .rope_original_context = 32,
      .tied_head = false,
      .architecture = "qwen2"}},
    {"qwen3, wide heads", {.layers = 3, .head_dim = 32, .rope_theta = 1e6, .architecture = "qwen3"}},
    {"qwen3, untied, yarn by the model's own context",
     {.head_dim = 8, .context = 256, .rope_scaling = "yarn", .tied_head = false, .architecture = "qwen3"}}};

TEST(TinyParity, EveryFamilyAgreesWithLlamaCpp) {
  const Folder folder;
  for (const auto& [name, options] : kShapes) {
    const ::testing::ScopedTrace trace(__FILE__, __LINE__, name);
    const auto path = folder / "tiny.gguf";
    ASSERT_TRUE(gguf::testing::write_tiny_model(path, options));
    const auto engine = open_engine(path, 4);
    const Decoder decoder = load(path);
    TorchScorer scorer(decoder);
    const std::vector<std::vector<TokenId>> prompts = {{5, 9, 30, 31, 32, 40, 12, 7}, {8}, {60, 61, 62, 5, 6}};
    Greedy ours(prompts, 24);
    Greedy theirs(prompts, 24);
    TorchGenerator generator(decoder);
    ASSERT_TRUE(generator.generate(ours, {}));
    ASSERT_TRUE(engine->generate(theirs, {}));
    EXPECT_EQ(ours.answers, theirs.answers);
    const Difference difference = compare(scorer, *engine, joined(prompts, ours.answers));
    EXPECT_LT(difference.largest, 1e-4);
  }
}

class TeacherParity : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kTeacher)) GTEST_SKIP() << kTeacher << " is absent; `make setup` fetches it";
    const auto file = gguf::File::open(kTeacher);
    ASSERT_TRUE(file);
    const auto tokenizer = tokens::Tokenizer::load(*file);
    ASSERT_TRUE(tokenizer);
    for (const char* text : {"The capital of France is",
                             "Once upon a time there was a",
                             "def fibonacci(n):\n",
                             "Water boils at",
                             "The three primary colours are",
                             "To be or not to be,",
                             "Dear Sir or Madam,\n",
                             "In 1969, the first man",
                             "Ingredients: flour, eggs,",
                             "The opposite of hot is",
                             "A haiku about rain:\n",
                             "import numpy as np\n",
                             "The mitochondria is",
                             "Q: What is 2+2?\nA:",
                             "Roses are red,",
                             "The quick brown fox",
                             "How to tie a tie: first,",
                             "SELECT name FROM",
                             "Bonjour, je m'appelle",
                             "The meaning of life"}) {
      const auto ids = tokenizer->encode(text);
      ASSERT_TRUE(ids);
      prompts_.push_back(*ids);
    }
  }
  std::filesystem::path converted(gguf::TensorType type) {
    const auto path = folder_ / (std::string(gguf::name_of(type)) + ".gguf");
    const auto file = gguf::File::open(kTeacher);
    RETORT_CHECK(file.has_value());
    const auto done = gguf::convert(*file, type, path);
    EXPECT_TRUE(done) << done.error().message;
    return path;
  }
  Folder folder_;
  std::vector<std::vector<TokenId>> prompts_;
};

TEST_F(TeacherParity, Fp32AgreesAndGreedyTextIsIdentical) {
  const auto path = converted(gguf::TensorType::kF32);
  const Decoder decoder = load(path);
  Greedy ours(prompts_, 64);
  TorchGenerator generator(decoder, prompts_.size());
  ASSERT_TRUE(generator.generate(ours, {}));
  const auto engine = open_engine(path, prompts_.size());
  Greedy theirs(prompts_, 64);
  ASSERT_TRUE(engine->generate(theirs, {}));
  EXPECT_EQ(ours.answers, theirs.answers);
  TorchScorer scorer(decoder);
  auto texts = joined(prompts_, ours.answers);
  texts.resize(6);
  const Difference difference = compare(scorer, *engine, texts);
  RecordProperty("mean", std::to_string(difference.mean));
  RecordProperty("largest", std::to_string(difference.largest));
  EXPECT_LE(difference.largest, 1e-3);
}

TEST_F(TeacherParity, Fp16IsNear) {
  const auto path = converted(gguf::TensorType::kF16);
  const Decoder decoder = load(path);
  const auto engine = open_engine(path, 1);
  TorchScorer scorer(decoder);
  std::vector<TokenId> text;
  for (const auto& prompt : prompts_) text.insert(text.end(), prompt.begin(), prompt.end());
  text.resize(80);
  const Difference difference = compare(scorer, *engine, {text});
  EXPECT_LE(difference.mean, 0.005);
  EXPECT_LE(difference.largest, 0.1);
}

}  // namespace
}  // namespace retort::model
