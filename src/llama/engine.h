// A GGUF model on llama.cpp: continues token ids in large batches, and scores given ones.
//
// What may be relied on: the file is checked by our own reader (gguf) before llama.cpp sees it, and every precondition
// of a call is checked before the call, because llama.cpp aborts rather than throws. Nothing is printed. The same
// requests in the same order on the same machine give the same tokens; in another order a token may differ where two
// logits are nearly equal, since matrix kernels round differently for other batch shapes.
//
// Ownership and threads: an Engine owns model, KV cache and worker threads. One thread at a time may call it; the
// workers sleep between calls, so that another thread pool in the process has the cores to itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "base/error.h"
#include "exchange/engine.h"

namespace retort::llama {

enum class KvType : std::uint8_t { kF32, kF16 };

struct EngineOptions {
  // Worker threads; 0: as many as this process may use.
  int threads = 0;
  // Tokens a sequence may hold, prompt and answer together; rounded up to a multiple of 256. 0: what the model was
  // trained with. More than that is refused.
  std::size_t context_tokens = 512;
  // Sequences decoded at once, 1 to 256.
  std::size_t parallel = 64;
  // Tokens that go through the model in one piece while a prompt is read; at least `parallel`.
  std::size_t batch_tokens = 512;
  KvType kv = KvType::kF16;
  bool flash_attention = true;
  // Rewrites weights at load time for the machine's matrix instructions where llama.cpp can.
  bool repack_weights = true;
  // Keeps the KV cache from one generate() to the next, so that a conversation is not read again at every turn. The
  // tokens of a call then depend (by rounding) on the calls before it.
  bool keep_cache = false;
};

// What generate() has done since open().
struct GenerationCounts {
  std::uint64_t sampled_tokens = 0;
  std::uint64_t prompt_tokens = 0;  // computed
  std::uint64_t reused_tokens = 0;  // prompt tokens found in the KV cache
  std::uint64_t steps = 0;          // calls of llama_decode
};

class Engine final : public TokenGenerator, public Scorer {
 public:
  // Errors: kCaller for a file that is not a usable model (damaged, of an architecture that isn't supported, context
  // longer than the model's or than its sliding window, options out of range), kWorld when memory runs out.
  static Result<std::unique_ptr<Engine>> open(const std::filesystem::path& gguf, const EngineOptions& options);
  ~Engine() override;

  // See TokenGenerator. Sequences are kept full from job.next(); prompts that begin alike are read once.
  // max_tokens <= 0 means: until the context is full.
  Result<void> generate(GenerationJob& job, std::stop_token stop) override;

  // See Scorer. Forgets what generate() kept.
  Result<void> score(std::span<const TokenId> ids, std::size_t first_row,
                     const std::function<Result<void>(const LogitRows&)>& visit) override;

  std::size_t vocabulary() const override;
  std::size_t context_tokens() const override;
  std::size_t parallel() const;
  int threads() const;
  GenerationCounts counts() const;

 private:
  struct State;
  explicit Engine(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace retort::llama
