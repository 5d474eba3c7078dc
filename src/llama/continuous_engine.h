// A GGUF model on llama.cpp that many ask at once: continuous batching for a server.
//
// Sequences join and leave between two steps. A step is one llama_decode: a token of every sequence that is answering,
// and with them pieces of the prompts of those that have just come. What a prompt shares with what the KV cache holds,
// or is about to hold, is copied and not computed again, so n answers to one prompt read it once.
//
// What may be relied on: every sequence owns `context_tokens` cells of the cache, so that one that was let in can
// always run to its end; the others wait in order. A sequence draws from its own seed, whoever else is there; but
// matrix kernels round differently for other batch shapes, so where two tokens are almost equally likely another
// company may still lead to another token. Not so on a server with one sequence at a time (parallel 1) and
// `reuse_prompts` off.
//
// Threads: submit() and the counts from any thread; sinks are called on the engine's own. The destructor ends what runs
// (failed() with kInterrupted), so it must not be called from a sink.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <vector>

#include "base/error.h"
#include "exchange/sequence_engine.h"
#include "llama/engine.h"

namespace retort::llama {

struct ContinuousOptions {
  EngineOptions engine;
  // Sequences that may wait for a place.
  std::size_t most_waiting = 4096;
  // Off: every prompt is computed, so that its logits don't depend on who was asked before.
  bool reuse_prompts = true;
};

class ContinuousEngine final : public SequenceEngine {
 public:
  // Errors as Engine::open.
  static Result<std::unique_ptr<ContinuousEngine>> open(const std::filesystem::path& gguf,
                                                        const ContinuousOptions& options);
  ~ContinuousEngine() override;

  Result<void> submit(std::vector<SequenceRequest> requests) override;
  std::size_t vocabulary() const override;
  std::size_t context_tokens() const override;
  std::size_t parallel() const override;
  std::size_t running() const override;
  std::size_t waiting() const override;

  GenerationCounts counts() const;

 private:
  struct State;
  explicit ContinuousEngine(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Bytes of KV cache that a token of this model takes. Error (kCaller): not a usable model.
Result<std::size_t> cache_bytes_per_token(const std::filesystem::path& gguf, KvType kv);

}  // namespace retort::llama
