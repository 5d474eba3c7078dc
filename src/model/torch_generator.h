// A Decoder as TokenGenerator: many sequences at a time with a key-value cache each. Shares the decoder's weights. One
// thread at a time. Each request draws from its own stream, so what else is in flight doesn't shift its draws.
// max_tokens <= 0: until the context is full.
#pragma once

#include <cstddef>
#include <stop_token>

#include "base/random.h"
#include "exchange/engine.h"
#include "model/decoder.h"

namespace retort::model {

class TorchGenerator final : public TokenGenerator {
 public:
  explicit TorchGenerator(Decoder decoder, std::size_t parallel = 16)
      : decoder_(std::move(decoder)), parallel_(parallel) {}
  Result<void> generate(GenerationJob& job, std::stop_token stop) override;
  std::size_t context_tokens() const override;

 private:
  Decoder decoder_;
  std::size_t parallel_;
};

}  // namespace retort::model
