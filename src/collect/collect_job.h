// The requests and answers of one collect() call. Internal to the module.
//
// Keeps track of which slot each request belongs to, turns a finished user's turn into the request for its answer at
// once, and stores every finished exchange. Called from the thread of collect() only.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/progress.h"
#include "collect/collect.h"
#include "collect/prompt_rows.h"
#include "collect/slot_plan.h"
#include "exchange/engine.h"

namespace retort::collect {

// What is still to be asked.
struct Work {
  std::string job;                   // of store::Slot
  std::vector<std::int64_t> slots;   // to ask, ascending
  const PromptRows* rows = nullptr;  // of the prompt file; none: self-generated
  std::string prompt_source;
  SlotPlan plan;          // which row a slot asks, and its seeds
  std::int64_t done = 0;  // slots finished before
  std::int64_t total = 0;
  Result<PromptRow> row_of(std::int64_t slot) const { return rows->at(plan.row_of(slot)); }
};

class CollectJob final : public GenerationJob {
 public:
  CollectJob(Work work, const tokens::ChatFormat& format, const Source& source, const CollectOptions& options,
             store::ExchangeStore& store, const Clock& clock, Progress& progress);

  // What doesn't change between self-generated requests. Call before generate(). Error: the template can't do it, or
  // turns and answers of the lengths allowed don't fit into the context.
  Result<void> prepare_self_generation(std::size_t context_tokens);

  std::optional<TokenRequest> next() override;
  Result<void> finished(std::uint64_t tag, TokenCompletion completion) override;
  void sampled(std::uint64_t tag, TokenId id) override;

  // An error met inside next(), which has no other way to say it.
  const std::optional<Error>& failure() const { return failure_; }
  // Phases and counts; call when generate() has returned.
  void report(CollectSummary& summary) const;

 private:
  enum class Turn { kUser, kAnswer };
  struct Pending {
    std::int64_t slot = 0;
    Turn turn = Turn::kAnswer;
    std::int64_t attempt = 0;
    Prompt prompt;                 // of an answer
    TokenizedConversation tokens;  // the prompt's
    SamplingOptions sampling;
  };

  SamplingOptions sampling(std::uint64_t seed, std::int64_t max_tokens) const;
  void ask_user(std::int64_t slot, std::int64_t attempt);
  void ask_answer(std::int64_t slot, Prompt prompt, TokenizedConversation tokens);
  void enqueue(Pending pending, std::vector<TokenId> prompt_ids, std::vector<TokenId> end_ids);
  Result<void> user_finished(Pending pending, TokenCompletion completion);
  Result<void> answer_finished(Pending pending, TokenCompletion completion);
  Result<void> draw_again(const Pending& pending, std::int64_t& counter, const char* reason);
  void show();

  const Work work_;
  const tokens::ChatFormat& format_;
  const Source& source_;
  const CollectOptions& options_;
  store::ExchangeStore& store_;
  const Clock& clock_;
  Progress& progress_;

  std::vector<Message> system_;
  std::vector<TokenId> user_prefix_;
  std::vector<TokenId> user_end_ids_;

  std::size_t next_slot_ = 0;  // index into work_.slots
  std::uint64_t next_tag_ = 0;
  std::deque<TokenRequest> ready_;
  std::unordered_map<std::uint64_t, Pending> pending_;
  std::optional<Error> failure_;

  std::int64_t asked_ = 0;
  std::int64_t settled_ = 0;  // slots of this call that are done, with or without an exchange
  std::int64_t empty_user_turns_ = 0;
  std::int64_t long_user_turns_ = 0;
  std::int64_t broken_user_turns_ = 0;
  std::int64_t slots_given_up_ = 0;
  std::int64_t sampled_ = 0;
  double start_s_ = 0;
  std::optional<double> tail_start_s_;
  std::int64_t sampled_before_tail_ = 0;
  double last_s_ = 0;
};

}  // namespace retort::collect
