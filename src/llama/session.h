// A loaded model with one llama.cpp context and its worker threads: what Engine and the speed measurements stand on.
//
// Internal to the module. Owns everything it points to. One thread at a time.
#pragma once

#include <ggml-cpu.h>
#include <llama.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.h"
#include "exchange/exchange.h"
#include "llama/compute_thread.h"
#include "llama/engine.h"

namespace retort::llama {

// Tokens for one llama_decode call.
class Batch {
 public:
  void clear();
  void add(TokenId token, std::size_t position, std::size_t sequence, bool wants_logits);
  std::size_t size() const { return tokens_.size(); }
  bool empty() const { return tokens_.empty(); }

 private:
  friend class Session;
  std::vector<llama_token> tokens_;
  std::vector<llama_pos> positions_;
  std::vector<llama_seq_id> sequences_;
  std::vector<std::int8_t> wants_logits_;
  std::vector<std::int32_t> counts_;
  std::vector<llama_seq_id*> sequence_pointers_;
};

class Session {
 public:
  // Checks file and options first; see Engine::open for the errors.
  static Result<Session> open(const std::filesystem::path& gguf, const EngineOptions& options);

  // Runs the batch. Preconditions (checked): at most batch_tokens() tokens, ids within the vocabulary, positions within
  // the context, sequences below parallel(), at most max_outputs() rows of logits asked for.
  // Errors: kInterrupted when `stop` was requested meanwhile, kWorld when llama.cpp fails.
  Result<void> decode(Batch& batch, const std::stop_token& stop);
  // The logits of the batch's token `index`, which asked for them. Valid until the next decode().
  std::span<const float> logits(std::size_t index) const;

  // Forgets everything in the KV cache.
  void clear();
  // Forgets a sequence from a position on.
  void truncate(std::size_t sequence, std::size_t position);
  // Makes `to` hold what `from` holds. Moves as many bytes as a sequence's whole context takes.
  void copy(std::size_t from, std::size_t to);

  std::size_t vocabulary() const { return vocabulary_; }
  std::size_t context_tokens() const { return context_tokens_; }
  std::size_t parallel() const { return parallel_; }
  std::size_t batch_tokens() const { return batch_tokens_; }
  std::size_t max_outputs() const { return max_outputs_; }
  int threads() const { return threads_; }
  // From how many tokens on copy() is cheaper than computing them.
  std::size_t copy_pays_from() const;

 private:
  struct ModelDeleter {
    void operator()(llama_model* model) const { llama_model_free(model); }
  };
  struct ContextDeleter {
    void operator()(llama_context* context) const { llama_free(context); }
  };
  struct PoolDeleter {
    void operator()(ggml_threadpool* pool) const { ggml_threadpool_free(pool); }
  };
  Session() = default;

  // Destroyed from the bottom up: the context before its threads and its model.
  std::unique_ptr<llama_model, ModelDeleter> model_;
  std::unique_ptr<ggml_threadpool, PoolDeleter> pool_;
  std::unique_ptr<llama_context, ContextDeleter> context_;
  std::unique_ptr<ComputeThread> thread_;
  std::size_t vocabulary_ = 0;
  std::size_t context_tokens_ = 0;
  std::size_t parallel_ = 0;
  std::size_t batch_tokens_ = 0;
  std::size_t max_outputs_ = 0;
  int threads_ = 0;
  std::uint64_t parameters_ = 0;
  std::uint64_t copy_bytes_ = 0;
};

// Worker threads for an option: 0 means as many as this process may use.
int effective_threads(int wanted);

}  // namespace retort::llama
