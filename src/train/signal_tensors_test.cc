#include "train/signal_tensors.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <vector>

#include "base/random.h"

namespace retort::train {
namespace {

// Of several shapes: flat, with a few likely tokens, and nearly certain ones.
TEST(SignalTensors, KeepWhatTheRowsThemselvesKeep) {
  torch::manual_seed(8);
  constexpr std::int64_t kRows = 600, kVocabulary = 300;
  const at::Tensor sharpness = torch::linspace(0, 6, kRows).unsqueeze(1);
  const at::Tensor logits = (sharpness * torch::randn({kRows, kVocabulary})).to(at::kFloat);
  const at::Tensor p = logits.softmax(1), log_z = logits.logsumexp(1);
  const at::Tensor entropy = -(p * p.clamp_min(1e-30).log()).sum(1);
  for (const auto kind : {dataset::SignalKind::kSampled, dataset::SignalKind::kTopK}) {
    dataset::SignalHeader header;
    header.kind = kind;
    header.slots = 6;
    header.seed = 3;
    const auto rows = signal_rows_by_tensors(p, log_z, entropy, 40, header);
    ASSERT_EQ(rows.size(), static_cast<std::size_t>(kRows));
    std::int64_t different = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::span<const float> own(p.const_data_ptr<float>() + i * kVocabulary, kVocabulary);
      Random random(derive_seed(header.seed, "signal", 40 + i));
      const auto expected =
          kind == dataset::SignalKind::kTopK ? dataset::top_slots(own, 6) : dataset::draw_slots(own, 6, random);
      ASSERT_EQ(rows[i].slots.size(), expected.size());
      bool same = true;
      double sum = 0;
      for (std::size_t slot = 0; slot < expected.size(); ++slot) {
        same = same && rows[i].slots[slot].id == expected[slot].id;
        same = same && std::abs(rows[i].slots[slot].weight - expected[slot].weight) < 1e-4;
        sum += static_cast<double>(rows[i].slots[slot].weight);
      }
      if (kind == dataset::SignalKind::kSampled) {
        EXPECT_NEAR(sum, 1, 2e-4) << i;
      }
      different += same ? 0 : 1;
      EXPECT_EQ(rows[i].log_z, log_z[static_cast<std::int64_t>(i)].item<float>());
      EXPECT_EQ(rows[i].entropy, entropy[static_cast<std::int64_t>(i)].item<float>());
    }
    EXPECT_LE(different, 2);  // where a tooth meets the border between two tokens
  }
}

}  // namespace
}  // namespace retort::train
