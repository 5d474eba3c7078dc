#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/clock.h"
#include "model/compute_probe.h"
#include "model/layer_choice.h"
#include "model/torch_generator.h"
#include "model/torch_scorer.h"

namespace retort::model {
namespace {

using ::testing::HasSubstr;

// `quiet`: a layer whose weights are nearly nothing, so that it leaves its input as it is.
Decoder make(std::int64_t layers, std::int64_t quiet = -1, DecoderConfig config = {}) {
  config.layers = layers;
  config.hidden = 32;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 8;
  config.intermediate = 48;
  config.vocabulary = 50;
  config.context = 64;
  for (std::int64_t i = 0; i < layers; ++i) config.source_layers.push_back(i);
  torch::manual_seed(11);
  std::vector<NamedTensor> tensors;
  for (const auto& name : tensor_names(config)) {
    const auto shape = tensor_shape(config, name);
    auto values = torch::randn(shape, torch::kFloat32);
    values = shape.size() == 1 && name.ends_with(".weight") ? 1 + 0.1 * values : 0.25 * values;
    if (name.starts_with("blk." + std::to_string(quiet) + ".") && shape.size() == 2) values = 1e-3 * values;
    tensors.push_back({name, values});
  }
  auto decoder = Decoder::from_tensors(config, tensors, ComputeType::kFloat32);
  RETORT_CHECK(decoder.has_value());
  return *decoder;
}

class Requests final : public GenerationJob {
 public:
  explicit Requests(std::vector<TokenRequest> requests) : requests_(std::move(requests)) {}
  std::optional<TokenRequest> next() override {
    if (given_ == requests_.size()) return std::nullopt;
    return requests_[given_++];
  }
  Result<void> finished(std::uint64_t tag, TokenCompletion completion) override {
    answers[tag] = std::move(completion);
    return {};
  }
  void sampled(std::uint64_t tag, TokenId id) override { streamed[tag].push_back(id); }
  std::map<std::uint64_t, TokenCompletion> answers;
  std::map<std::uint64_t, std::vector<TokenId>> streamed;

 private:
  std::vector<TokenRequest> requests_;
  std::size_t given_ = 0;
};

TokenRequest request(std::uint64_t tag, std::vector<TokenId> prompt, double temperature) {
  TokenRequest result;
  result.tag = tag;
  result.prompt_ids = std::move(prompt);
  result.sampling.temperature = temperature;
  result.sampling.max_tokens = 12;
  result.sampling.seed = 100 + tag;
  return result;
}

TEST(TorchGenerator, EqualsGenerationWithoutCache) {
  DecoderConfig qwen2;
  qwen2.architecture = "qwen2";
  qwen2.qkv_bias = true;
  DecoderConfig qwen3;
  qwen3.architecture = "qwen3";
  qwen3.qk_norm = true;
  DecoderConfig mistral;
  mistral.window = 5;
  DecoderConfig extended;
  extended.rope_scale = 4;
  extended.yarn_context = 16;
  extended.rope_magnitude = yarn_magnitude(4);
  for (const auto& family : {DecoderConfig{}, qwen2, qwen3, mistral, extended}) {
    const Decoder decoder = make(3, -1, family);
    Requests job({request(0, {1, 2, 3, 4, 5}, 0), request(1, {7}, 0), request(2, {9, 8, 9}, 0)});
    TorchGenerator generator(decoder, 2);  // the third joins when one has ended
    ASSERT_TRUE(generator.generate(job, {}));
    for (const auto& [tag, prompt] :
         std::map<std::uint64_t, std::vector<TokenId>>{{0, {1, 2, 3, 4, 5}}, {1, {7}}, {2, {9, 8, 9}}}) {
      std::vector<TokenId> ids = prompt;
      for (int i = 0; i < 12; ++i) {
        const auto hidden = decoder.forward(single_document(ids)).squeeze(0);
        const auto logits = decoder.logits(hidden.narrow(0, hidden.size(0) - 1, 1));
        ids.push_back(static_cast<TokenId>(logits.argmax().item<std::int64_t>()));
      }
      EXPECT_EQ(job.answers.at(tag).ids,
                std::vector<TokenId>(ids.begin() + static_cast<long>(prompt.size()), ids.end()));
      EXPECT_EQ(job.answers.at(tag).finish_reason, FinishReason::kLength);
      EXPECT_EQ(job.streamed.at(tag), job.answers.at(tag).ids);
    }
  }
}

TEST(TorchGenerator, EndsAtAnEndIdAndKeepsIt) {
  const Decoder decoder = make(2);
  Requests plain({request(0, {1, 2, 3}, 0)});
  TorchGenerator generator(decoder);
  ASSERT_TRUE(generator.generate(plain, {}));
  const auto whole = plain.answers.at(0).ids;
  auto ending = request(0, {1, 2, 3}, 0);
  ending.end_ids = {whole[4]};
  Requests ended({ending});
  ASSERT_TRUE(generator.generate(ended, {}));
  const auto first = std::find(whole.begin(), whole.end(), whole[4]);
  EXPECT_EQ(ended.answers.at(0).ids, std::vector<TokenId>(whole.begin(), first + 1));
  EXPECT_EQ(ended.answers.at(0).finish_reason, FinishReason::kEnd);
}

TEST(TorchGenerator, ASeedRepeatsWhateverElseRuns) {
  const Decoder decoder = make(2);
  Requests alone({request(5, {1, 2, 3}, 1.0)});
  Requests among({request(1, {4}, 1.0), request(5, {1, 2, 3}, 1.0), request(2, {6, 6}, 1.0)});
  TorchGenerator generator(decoder);
  ASSERT_TRUE(generator.generate(alone, {}));
  ASSERT_TRUE(generator.generate(among, {}));
  EXPECT_EQ(alone.answers.at(5).ids, among.answers.at(5).ids);
}

TEST(TorchGenerator, RefusesWhatDoesNotFit) {
  TorchGenerator generator(make(1));
  Requests long_prompt({request(0, std::vector<TokenId>(60, 1), 0)});
  const auto refused = generator.generate(long_prompt, {});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("60 tokens and 12 more"));
  Requests unknown({request(0, {50}, 0)});
  EXPECT_THAT(generator.generate(unknown, {}).error().message, HasSubstr("outside the model's vocabulary"));
  std::stop_source stop;
  stop.request_stop();
  Requests any({request(0, {1}, 0)});
  EXPECT_EQ(generator.generate(any, stop.get_token()).error().fault, Fault::kInterrupted);
}

TEST(TorchScorer, VisitsTheAskedRowsInChunks) {
  const Decoder decoder = make(2);
  const std::vector<TokenId> ids = {3, 1, 4, 1, 5, 9, 2};
  const auto expected = decoder.logits(decoder.forward(single_document(ids)).squeeze(0));
  TorchScorer scorer(decoder, 2);
  std::size_t next = 2;
  ASSERT_TRUE(scorer.score(ids, 2, [&](const LogitRows& rows) -> Result<void> {
    EXPECT_EQ(rows.first_position, next);
    EXPECT_LE(rows.rows, 2U);
    for (std::size_t r = 0; r < rows.rows; ++r) {
      for (std::size_t v = 0; v < 50; ++v) {
        EXPECT_NEAR(rows.row(r)[v],
                    expected[static_cast<std::int64_t>(next + r)][static_cast<std::int64_t>(v)].item<float>(), 1e-5);
      }
    }
    next += rows.rows;
    return {};
  }));
  EXPECT_EQ(next, ids.size());
  EXPECT_TRUE(scorer.score({}, 0, [](const LogitRows&) -> Result<void> { return world_error("visited"); }));
  EXPECT_FALSE(scorer.score(std::vector<TokenId>{-1}, 0, [](const LogitRows&) -> Result<void> { return {}; }));
  EXPECT_FALSE(scorer.score(std::vector<TokenId>(65, 1), 0, [](const LogitRows&) -> Result<void> { return {}; }));
}

TEST(LayerChoice, ALayerThatDoesNothingGoesFirst) {
  const Decoder teacher = make(5, 2);
  const std::vector<MeasuredSequence> sequences = {{{1, 2, 3, 4, 5, 6, 7, 8}, {}}, {{9, 10, 11, 12}, {}}};
  SilentProgress progress;
  for (const auto method : {LayerMethod::kBlockInfluence, LayerMethod::kGreedyKl}) {
    const auto choice = choose_layers(teacher, sequences, {.method = method, .keep = 4}, progress, {});
    ASSERT_TRUE(choice) << choice.error().message;
    EXPECT_EQ(choice->kept, (std::vector<std::int64_t>{0, 1, 3, 4}));
    EXPECT_EQ(choice->measured_tokens, 12);
    EXPECT_FALSE(choice->scores[2].kept);
  }
}

TEST(LayerChoice, GreedyTellsTheKlOfTheCut) {
  const Decoder teacher = make(4);
  const std::vector<MeasuredSequence> sequences = {{{1, 2, 3, 4, 5, 6, 7, 8}, {}}};
  SilentProgress progress;
  const auto choice = choose_layers(teacher, sequences, {.method = LayerMethod::kGreedyKl, .keep = 2}, progress, {});
  ASSERT_TRUE(choice);
  const auto cut = teacher.keep_layers(choice->kept);
  ASSERT_TRUE(cut);
  const auto batch = single_document(sequences[0].ids);
  const auto p = teacher.logits(teacher.forward(batch).squeeze(0)).log_softmax(1);
  const auto q = cut->logits(cut->forward(batch).squeeze(0)).log_softmax(1);
  const double kl = (p.exp() * (p - q)).sum(1).mean().item<double>();
  double last = -1;
  std::int64_t removed = 0;
  for (const auto& score : choice->scores) {
    if (score.removed_at == 1) last = score.kl_after_removal;
    if (!score.kept) ++removed;
  }
  EXPECT_EQ(removed, 2);
  EXPECT_NEAR(last, kl, 1e-4);
}

// More layers than the shortlist holds: the sketch names the candidates, the whole text decides among them.
TEST(LayerChoice, AShortlistFindsWhatTheSearchOfAllFinds) {
  const Decoder teacher = make(9, 4);  // one of nine does nothing
  std::vector<MeasuredSequence> sequences;
  for (TokenId first = 0; first < 8; ++first) {
    MeasuredSequence sequence;
    for (TokenId i = 0; i < 40; ++i) sequence.ids.push_back((first * 5 + i * 7) % 50);
    sequence.judged.assign(sequence.ids.size(), 1);
    sequences.push_back(sequence);
  }
  SilentProgress progress;
  const auto choice = choose_layers(teacher, sequences, {.method = LayerMethod::kGreedyKl, .keep = 8}, progress, {});
  ASSERT_TRUE(choice) << choice.error().message;
  EXPECT_FALSE(choice->scores[4].kept);
}

TEST(LayerChoice, OnlyWhatIsJudgedCounts) {
  const Decoder teacher = make(3);
  const auto last_kl = [&](std::vector<std::uint8_t> judged) {
    const std::vector<MeasuredSequence> sequences = {{{1, 2, 3, 4, 5, 6}, std::move(judged)}};
    SilentProgress progress;
    const auto choice = choose_layers(teacher, sequences, {.method = LayerMethod::kGreedyKl, .keep = 2}, progress, {});
    RETORT_CHECK(choice.has_value());
    for (const auto& score : choice->scores) {
      if (score.removed_at == 0) return score.kl_after_removal;
    }
    return -1.0;
  };
  EXPECT_EQ(last_kl({1, 1, 1, 1, 1, 1}), last_kl({}));
  EXPECT_NE(last_kl({1, 1, 1, 0, 0, 0}), last_kl({}));
  EXPECT_EQ(last_kl({0, 0, 0, 0, 0, 0}), last_kl({}));
}

TEST(LayerChoice, TheLastLayerIsNotJudgedByInfluence) {
  const Decoder teacher = make(4, 3);  // the last does nothing
  const std::vector<MeasuredSequence> sequences = {{{1, 2, 3, 4}, {}}};
  SilentProgress progress;
  const auto choice =
      choose_layers(teacher, sequences, {.method = LayerMethod::kBlockInfluence, .keep = 2}, progress, {});
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->kept.back(), 3);
}

TEST(LayerChoice, RefusesImpossibleOnes) {
  const Decoder teacher = make(3);
  const std::vector<MeasuredSequence> sequences = {{{1, 2, 3}, {}}};
  SilentProgress progress;
  EXPECT_FALSE(choose_layers(teacher, sequences, {.keep = 4}, progress, {}));
  EXPECT_FALSE(choose_layers(teacher, sequences, {.keep = 0}, progress, {}));
  EXPECT_FALSE(choose_layers(teacher, {}, {.keep = 2}, progress, {}));
  const std::vector<std::int64_t> list = {0, 2};
  EXPECT_EQ(given_layers(teacher, sequences, list, 100)->kept, list);
  EXPECT_EQ(given_layers(teacher, {}, list, 100)->kept, list);
  const std::vector<std::int64_t> bad = {2, 0};
  EXPECT_FALSE(given_layers(teacher, {}, bad, 100));
}

TEST(ComputeProbe, MeasuresAndSaysWhy) {
  const auto before = at::globalContext().float32MatmulPrecision();
  const ComputeProbe probe =
      probe_compute({.rows = 64, .hidden = 64, .intermediate = 128, .vocabulary = 512}, SystemClock());
  ASSERT_EQ(probe.speeds.size(), 3U);
  for (const auto& speed : probe.speeds) EXPECT_GT(speed.block_gflops, 0) << speed.name;
  EXPECT_LT(probe.speeds[0].relative_error, 1e-5);
  EXPECT_GT(probe.chosen_block_gflops, 0);
  EXPECT_THAT(probe.reason, HasSubstr("GFLOP/s"));
  EXPECT_EQ(at::globalContext().float32MatmulPrecision(), before);
  // A clock that stands still ends the measurement too.
  EXPECT_EQ(probe_compute({.rows = 8, .hidden = 16, .intermediate = 16, .vocabulary = 32}, ManualClock()).speeds.size(),
            3U);
}

// With AMX oneDNN rounds the factors of products to BF16, but only of those with many rows.
TEST(ComputeProbe, WhatItTakesForFloat32IsExactForManyRowsToo) {
  const OnednnFloat32 taken(probe_compute({}, ManualClock()).onednn_float32);
  const torch::NoGradGuard no_gradient;
  for (const std::int64_t rows : {1, 64, 256, 2048}) {
    const auto a = (torch::arange(rows * 576, torch::kFloat32) * 0.7548777F).sin().view({rows, 576});
    const auto b = (torch::arange(576 * 1536, torch::kFloat32) * 0.5698403F).sin().view({576, 1536});
    const auto exact = at::mm(a.to(torch::kFloat64), b.to(torch::kFloat64));
    const auto off = (at::mm(a, b).to(torch::kFloat64) - exact).abs().max() / exact.abs().max();
    EXPECT_LT(off.item<double>(), 2e-5) << rows << " rows";
  }
}

}  // namespace
}  // namespace retort::model
