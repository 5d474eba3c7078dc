#include "model/packed_text.h"

#include <torch/torch.h>

#include <algorithm>
#include <numeric>
#include <string>

namespace retort::model {

Result<PackedText> pack_text(std::span<const MeasuredSequence> sequences, const DecoderConfig& config,
                             std::int64_t max_tokens, std::int64_t max_length) {
  std::vector<std::int64_t> ids;
  std::vector<std::int64_t> positions;
  std::vector<std::int64_t> documents;
  std::vector<std::int64_t> judged;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const MeasuredSequence& sequence = sequences[i];
    RETORT_CHECK(sequence.judged.empty() || sequence.judged.size() == sequence.ids.size());
    const auto room = std::min({max_tokens - static_cast<std::int64_t>(ids.size()), config.context, max_length});
    const auto count = std::min<std::int64_t>(static_cast<std::int64_t>(sequence.ids.size()), room);
    if (count < 2) continue;  // a lone token says nothing about what follows
    for (std::int64_t j = 0; j < count; ++j) {
      const auto at = static_cast<std::size_t>(j);
      const TokenId id = sequence.ids[at];
      if (id < 0 || id >= config.vocabulary) {
        return caller_error("Token " + std::to_string(id) + " is outside the model's vocabulary of " +
                            std::to_string(config.vocabulary) + ".");
      }
      if (sequence.judged.empty() || sequence.judged[at] != 0) judged.push_back(static_cast<std::int64_t>(ids.size()));
      ids.push_back(id);
      positions.push_back(j);
      documents.push_back(static_cast<std::int64_t>(i));
    }
  }
  if (ids.empty()) {
    return caller_error("A model cannot be measured without token sequences; give at least one.");
  }
  if (judged.empty()) {  // what fits ends before the first: then its other tokens must do
    judged.resize(ids.size());
    std::iota(judged.begin(), judged.end(), 0);
  }
  const auto row = [](const std::vector<std::int64_t>& values) {
    return torch::tensor(values, torch::kInt64).unsqueeze(0);
  };
  return PackedText{TokenBatch{row(ids), row(positions), row(documents)}, std::move(judged)};
}

}  // namespace retort::model
