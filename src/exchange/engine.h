// The two interfaces that keep the rest free of any engine: who can continue token ids, and who can score them.
//
// llama (a GGUF file on llama.cpp) and model (a libtorch decoder) implement both; collect and evaluate know only these.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "base/error.h"
#include "exchange/exchange.h"

namespace retort {

struct TokenRequest {
  std::uint64_t tag = 0;  // the caller's name for it; comes back with the answer
  std::vector<TokenId> prompt_ids;
  SamplingOptions sampling;
  // Sampling one of these ends the completion (kEnd); it is the last of the returned ids.
  std::vector<TokenId> end_ids;
};

struct TokenCompletion {
  std::vector<TokenId> ids;  // sampled ids, the end id included when there was one
  FinishReason finish_reason = FinishReason::kUnknown;
};

// The caller's side of batched generation: a source of requests and a sink of answers. All calls come from the thread
// that called generate().
class GenerationJob {
 public:
  virtual ~GenerationJob() = default;
  // The next request; nullopt: none for now. Asked again after each answer, so that an answer may lead to a request.
  virtual std::optional<TokenRequest> next() = 0;
  // A request is done. An error stops the generation.
  virtual Result<void> finished(std::uint64_t tag, TokenCompletion completion) = 0;
  // One token was sampled: for streaming. Called before finished(). The end id is reported too.
  virtual void sampled(std::uint64_t /*tag*/, TokenId /*id*/) {}
};

// Continues token ids, many sequences at a time.
class TokenGenerator {
 public:
  virtual ~TokenGenerator() = default;
  // Runs until next() gives nothing and nothing is in flight. Stopped: Fault::kInterrupted; what was finished has been
  // handed over. A request longer than the context is refused (kCaller) naming both lengths.
  virtual Result<void> generate(GenerationJob& job, std::stop_token stop) = 0;
  virtual std::size_t context_tokens() const = 0;
};

// All of these requests, as one call; completions in the order of the requests, whose tags are set to their index.
// `progress`, when given, hears how many are done.
Result<std::vector<TokenCompletion>> generate_all(TokenGenerator& generator, std::vector<TokenRequest> requests,
                                                  std::stop_token stop,
                                                  const std::function<void(std::size_t done)>& progress = nullptr);

// Rows of raw logits: row r (of `rows`), vocabulary() floats each, predicts the token at position first_position + r
// + 1.
struct LogitRows {
  std::size_t first_position = 0;
  std::size_t rows = 0;
  std::size_t vocabulary = 0;
  const float* data = nullptr;  // rows * vocabulary, valid only during the call
  std::span<const float> row(std::size_t r) const { return {data + r * vocabulary, vocabulary}; }
};

// Scores a given sequence: what would have come next at every place.
class Scorer {
 public:
  virtual ~Scorer() = default;
  virtual std::size_t vocabulary() const = 0;
  virtual std::size_t context_tokens() const = 0;
  // Visits the rows [first_row, ids.size()) in order, in chunks. An empty sequence visits nothing.
  virtual Result<void> score(std::span<const TokenId> ids, std::size_t first_row,
                             const std::function<Result<void>(const LogitRows&)>& visit) = 0;
};

}  // namespace retort
