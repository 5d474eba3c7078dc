// The student answers on all ranks at once: each continues its share of the requests with the same weights.
//
// The leader calls generate(), as of any TokenGenerator; while it does, every other rank calls help() with the message
// that reaches it. A request draws from a stream of its own, so answers don't depend on the number of ranks but for
// rounding. Alone it is model::TorchGenerator. Borrows the ranks, shares the student's weights. One thread at a time.
#pragma once

#include <cstddef>
#include <span>
#include <stop_token>
#include <vector>

#include "base/error.h"
#include "base/json_fwd.h"
#include "exchange/engine.h"
#include "model/decoder.h"
#include "train/ranks.h"

namespace retort::train {

inline constexpr const char* kRequests = "requests";  // the member of the leader's message that asks for help

class RankGenerator final : public TokenGenerator {
 public:
  RankGenerator(const model::Decoder& student, Ranks& ranks) : student_(student), ranks_(ranks) {}

  // With several ranks the job's requests are taken at once, and answered in their order. Errors: those of the
  // generator, on whatever rank; kInterrupted when `stop` is requested of any.
  Result<void> generate(GenerationJob& job, std::stop_token stop) override;
  std::size_t context_tokens() const override;

  // The part of another rank than the leader in one generate() of the leader's, which sent `requests`. Nothing is wrong
  // with a generation that was stopped: the leader hears of it too.
  Result<void> help(const Json& requests, std::stop_token stop);

 private:
  // Answers of all ranks, in the order of the requests; none when it was stopped.
  Result<std::vector<TokenCompletion>> together(std::span<const TokenRequest> requests, std::stop_token stop);

  const model::Decoder& student_;
  Ranks& ranks_;
};

}  // namespace retort::train
