// A Scorer whose rows are a function of (position, ids before), for tests of evaluate.
#pragma once

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "base/random.h"
#include "exchange/engine.h"

namespace retort::evaluate {

class ScriptedScorer final : public Scorer {
 public:
  using Row = std::function<std::vector<float>(std::span<const TokenId> ids, std::size_t position)>;
  ScriptedScorer(std::size_t vocabulary, Row row, std::size_t chunk = 3, std::size_t context = 4096)
      : vocabulary_(vocabulary), row_(std::move(row)), chunk_(chunk), context_(context) {}

  std::size_t vocabulary() const override { return vocabulary_; }
  std::size_t context_tokens() const override { return context_; }
  Result<void> score(std::span<const TokenId> ids, std::size_t first_row,
                     const std::function<Result<void>(const LogitRows&)>& visit) override {
    ++calls;
    RETORT_CHECK(ids.size() <= context_);
    for (std::size_t from = first_row; from < ids.size(); from += chunk_) {
      LogitRows rows;
      rows.first_position = from;
      rows.rows = std::min(chunk_, ids.size() - from);
      rows.vocabulary = vocabulary_;
      std::vector<float> logits;
      for (std::size_t r = 0; r < rows.rows; ++r) {
        const std::vector<float> row = row_(ids.first(from + r + 1), from + r);
        RETORT_CHECK(row.size() == vocabulary_);
        logits.insert(logits.end(), row.begin(), row.end());
      }
      rows.data = logits.data();
      RETORT_TRY(visit(rows));
    }
    return {};
  }

  int calls = 0;

 private:
  std::size_t vocabulary_;
  Row row_;
  std::size_t chunk_;
  std::size_t context_;
};

// Rows that depend on the last two ids and on `seed`, peaked as a language model's are.
inline ScriptedScorer::Row random_rows(std::size_t vocabulary, std::uint64_t seed, float scale = 3) {
  return [=](std::span<const TokenId> ids, std::size_t) {
    std::uint64_t state = seed;
    for (std::size_t i = ids.size() - std::min<std::size_t>(2, ids.size()); i < ids.size(); ++i) {
      state = derive_seed(state, "row", static_cast<std::uint64_t>(ids[i]));
    }
    Random random(state);
    std::vector<float> row(vocabulary);
    for (float& value : row) value = scale * static_cast<float>(random.normal());
    return row;
  };
}

}  // namespace retort::evaluate
