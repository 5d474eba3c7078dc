// A Decoder as Scorer: logits in FP32, in chunks of rows, never all at once. Shares the decoder's weights. One thread
// at a time. context_tokens() is what the file says; longer sequences are refused.
#pragma once

#include <functional>
#include <span>

#include "exchange/engine.h"
#include "model/decoder.h"

namespace retort::model {

class TorchScorer final : public Scorer {
 public:
  explicit TorchScorer(Decoder decoder, std::int64_t chunk_rows = 64)
      : decoder_(std::move(decoder)), chunk_rows_(chunk_rows) {}
  std::size_t vocabulary() const override;
  std::size_t context_tokens() const override;
  // Error (kCaller): an id outside the vocabulary, a sequence longer than the context.
  Result<void> score(std::span<const TokenId> ids, std::size_t first_row,
                     const std::function<Result<void>(const LogitRows&)>& visit) override;

 private:
  Decoder decoder_;
  std::int64_t chunk_rows_;
};

}  // namespace retort::model
