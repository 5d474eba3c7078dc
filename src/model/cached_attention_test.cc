#include "model/cached_attention.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <vector>

#include "model/attention.h"
#include "model/attention_kernels.h"
#include "model/tensor_rows.h"

namespace retort::model {
namespace {

using Segment = Decoder::Layout::Segment;

// Feeds documents piece by piece and compares with the whole; `pieces[d]` are the lengths of document d's pieces.
void expect_equal_to_whole(const BlockShape& shape, torch::ScalarType type,
                           const std::vector<std::vector<std::int64_t>>& pieces, double tolerance) {
  torch::manual_seed(5);
  std::vector<torch::Tensor> documents, expected, got;
  std::vector<KeyValueCache> caches(pieces.size());
  std::size_t rounds = 0;
  for (std::size_t d = 0; d < pieces.size(); ++d) {
    std::int64_t length = 0;
    for (const std::int64_t piece : pieces[d]) length += piece;
    documents.push_back(torch::randn({length, shape.projection_width()}).to(type));
    expected.push_back(torch::empty({length, shape.query_width()}, type));
    const std::vector<Segment> whole = {{0, length}};
    attend(documents[d], shape, whole, expected[d], nullptr);
    got.push_back(torch::full_like(expected[d], 7));
    caches[d].keys.resize(1);
    caches[d].values.resize(1);
    rounds = std::max(rounds, pieces[d].size());
  }
  for (std::size_t round = 0; round < rounds; ++round) {
    std::vector<torch::Tensor> parts;
    Decoder::Layout layout;
    std::vector<Segment>& segments = layout.segments;
    std::vector<KeyValueCache*> at_hand;
    std::vector<std::size_t> whose;
    std::int64_t begin = 0;
    for (std::size_t d = 0; d < pieces.size(); ++d) {
      if (round >= pieces[d].size()) continue;
      const std::int64_t count = pieces[d][round];
      parts.push_back(documents[d].narrow(0, caches[d].length, count));
      segments.push_back({begin, begin + count});
      at_hand.push_back(&caches[d]);
      whose.push_back(d);
      begin += count;
    }
    const torch::Tensor projections = torch::cat(parts).contiguous();
    torch::Tensor attended = torch::full({begin, shape.query_width()}, 9, type);
    attend_cached(projections, shape, layout, at_hand, 0, attended);
    for (std::size_t i = 0; i < whose.size(); ++i) {
      const std::size_t d = whose[i];
      const std::int64_t count = segments[i].end - segments[i].begin;
      got[d].narrow(0, caches[d].length, count).copy_(attended.narrow(0, segments[i].begin, count));
      caches[d].length += count;
    }
  }
  for (std::size_t d = 0; d < pieces.size(); ++d) {
    const double worst = (got[d].to(torch::kDouble) - expected[d].to(torch::kDouble)).abs().max().item<double>();
    EXPECT_LE(worst, tolerance) << "document " << d;
  }
}

const std::vector<std::vector<std::int64_t>> kPieces = {{1, 1, 1, 1}, {40, 1, 30, 1, 1}, {3, 14, 1}, {150}};

TEST(CachedAttention, EqualsTheWholeDocument) {
  for (const BlockShape shape : {BlockShape{9, 3, 64, 1e-5}, BlockShape{2, 2, 8, 1e-5}, BlockShape{5, 1, 24, 1e-5},
                                 BlockShape{4, 2, 16, 1e-5, 1}, BlockShape{4, 2, 16, 1e-5, 20}}) {
    expect_equal_to_whole(shape, torch::kFloat32, kPieces, 2e-6);
    expect_equal_to_whole(shape, torch::kBFloat16, kPieces, 2e-2);  // two bf16 values of the result apart
  }
}

TEST(CachedAttention, EveryInstructionSetAgrees) {
  torch::manual_seed(6);
  constexpr std::size_t kHeads = 3, kHeadDim = 24, kSeen = 37, kBlocks = 3, kWidth = 32;
  const auto query = torch::randn({kHeads, kHeadDim});
  const auto keys = torch::randn({kBlocks, kHeadDim, static_cast<std::int64_t>(kKeyBlock)});
  auto values = torch::zeros({kBlocks * static_cast<std::int64_t>(kKeyBlock), kWidth});
  values.narrow(1, 0, kHeadDim).normal_();
  // Textbook, in FP64.
  const auto key_rows = keys.permute({0, 2, 1}).reshape({-1, kHeadDim}).narrow(0, 0, kSeen).to(torch::kDouble);
  const auto value_rows = values.narrow(0, 0, kSeen).narrow(1, 0, kHeadDim).to(torch::kDouble);
  const auto expected = torch::softmax(0.2 * torch::mm(query.to(torch::kDouble), key_rows.t()), 1).mm(value_rows);
  const AttentionKernels* variants[kMostAttentionKernels] = {};
  const std::size_t count = attention_kernel_variants(variants);
  for (std::size_t v = 0; v < count; ++v) {
    auto attended = torch::full({kHeads, kHeadDim}, 7.0F);
    std::vector<float> scratch(cached_attention_scratch(kHeads, kSeen, kHeadDim));
    variants[v]->cached_f32({kHeads, kHeadDim, kSeen, 0.2F},
                            {query.const_data_ptr<float>(), keys.const_data_ptr<float>(),
                             values.const_data_ptr<float>(), attended.data_ptr<float>()},
                            scratch.data());
    EXPECT_LT((attended.to(torch::kDouble) - expected).abs().max().item<double>(), 1e-6) << variants[v]->name;
  }
}

}  // namespace
}  // namespace retort::model
