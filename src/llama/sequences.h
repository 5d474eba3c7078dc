// Continuous batching: keeps the sequences of a Session busy with the requests of a GenerationJob.
//
// Internal to the module. A slot is one sequence of the KV cache. Every step decodes one token of each busy slot in one
// batch; a slot whose answer is finished takes the next request before the next step. What a prompt shares with tokens
// already in the cache (its slot's own, or another's) isn't computed again. One thread.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "exchange/engine.h"
#include "exchange/sampling.h"
#include "llama/engine.h"
#include "llama/session.h"

namespace retort::llama {

class Sequences {
 public:
  // `session` must outlive this object.
  explicit Sequences(Session& session);

  Result<void> run(GenerationJob& job, const std::stop_token& stop, GenerationCounts& counts);
  // Forgets what the KV cache holds.
  void forget();

 private:
  struct Slot {
    bool busy = false;
    TokenRequest request;
    // What the KV cache holds of this sequence.
    std::vector<TokenId> cached;
    std::vector<TokenId> sampled;
    std::size_t limit = 0;  // of sampled
    std::optional<Random> random;

    // Ids not yet in the cache: the rest of the prompt, then the token sampled last.
    std::size_t pending() const { return request.prompt_ids.size() + sampled.size() - cached.size(); }
    TokenId next_id() const {
      return cached.size() < request.prompt_ids.size() ? request.prompt_ids[cached.size()]
                                                       : sampled[cached.size() - request.prompt_ids.size()];
    }
  };

  Result<void> check(const TokenRequest& request) const;
  // Takes requests while a slot is free.
  Result<void> fill(GenerationJob& job);
  // Reads the prompt of a slot up to its last token, unless the rest is so short that it goes along with the steps.
  Result<void> prefill(Slot& slot, std::size_t sequence, const std::stop_token& stop, GenerationCounts& counts);
  // Moves sequences together: llama.cpp cuts a batch wherever sequence numbers have a gap.
  void compact();
  Result<void> step(GenerationJob& job, const std::stop_token& stop, GenerationCounts& counts);
  Result<void> finish(Slot& slot, FinishReason reason, GenerationJob& job);
  std::size_t busy() const;

  Session& session_;
  std::vector<Slot> slots_;
  std::vector<std::size_t> fresh_;  // slots started since the last prefill
  bool exhausted_ = false;          // next() had nothing, and nothing finished since
  // From how many tokens on copying another sequence's cache is cheaper than computing it.
  std::size_t copy_pays_from_ = 0;
  Batch batch_;
  Sampler sampler_;
};

}  // namespace retort::llama
