// The sequences of a Session and what each does next: which tokens make up a step, and what becomes of its logits.
//
// Internal to the module. A slot is one sequence of the KV cache. Busy slots are kept together at the front, because
// llama.cpp cuts a batch wherever sequence numbers have a gap. One thread; sinks are called on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "exchange/sampling.h"
#include "exchange/sequence_engine.h"
#include "llama/engine.h"
#include "llama/session.h"

namespace retort::llama {

class SlotTable {
 public:
  // `session` must outlive this object.
  SlotTable(Session& session, bool reuse_prompts);

  std::size_t busy() const { return busy_; }
  bool has_room() const { return busy_ < slots_.size(); }
  // Precondition: has_room(), and the request can run in this session (ContinuousEngine::submit checks).
  void start(SequenceRequest request);
  // Lets those go whose stop was requested.
  void drop_stopped();
  // One llama_decode. Precondition: busy() > 0. Error: nothing in the cache can be relied on; fail_all() is due.
  Result<void> step(const std::stop_token& stop);
  // Ends everything, and forgets the cache.
  void fail_all(const Error& error);

  const GenerationCounts& counts() const { return counts_; }

 private:
  struct Slot {
    bool busy = false;
    bool placed = false;      // what of the prompt needn't be computed is settled
    std::uint64_t order = 0;  // when it came
    SequenceRequest request;
    std::vector<TokenId> cached;  // what the KV cache holds of this sequence
    std::vector<TokenId> sampled;
    std::size_t limit = 0;  // of sampled
    std::optional<Random> random;

    // Ids to be computed before the next one is drawn or the end is reached: the rest of the prompt, or the id drawn
    // last. The last id of a prompt that nothing follows needn't be computed.
    std::size_t pending() const {
      return request.prompt_ids.size() + sampled.size() - cached.size() - (limit == 0 ? 1 : 0);
    }
    bool answering() const { return placed && !sampled.empty(); }
    TokenId id_at(std::size_t position) const {
      const std::size_t prompt = request.prompt_ids.size();
      return position < prompt ? request.prompt_ids[position] : sampled[position - prompt];
    }
  };
  // A token of the step's batch.
  struct Row {
    std::size_t slot;
    std::size_t position;
    bool wants_logits;
  };

  void compact();
  bool place(std::size_t index);
  void plan();
  void add(std::size_t index, std::size_t count);
  void hear(const Row& row, std::size_t batch_index);
  void finish(Slot& slot, FinishReason reason);
  void release(Slot& slot);

  Session& session_;
  bool reuse_prompts_;
  std::vector<Slot> slots_;
  std::size_t busy_ = 0;
  std::uint64_t started_ = 0;
  // From how many tokens on copying another sequence's cache is cheaper than computing it.
  std::size_t copy_pays_from_ = 0;
  Batch batch_;
  std::vector<Row> rows_;
  Sampler sampler_;
  GenerationCounts counts_;
};

}  // namespace retort::llama
