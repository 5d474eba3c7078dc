// A run's rollouts: prompts are those of the training exchanges, answers are the student's, kept as exchanges of their
// own in train/rollouts.sqlite, with the exchange they were derived from.
//
// A round is stored in one transaction: after a kill it is there as a whole, and given again, or not at all, and made
// again by the same weights. Borrows exchanges, format and progress. One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/progress.h"
#include "exchange/exchange.h"
#include "store/exchange_store.h"
#include "tokens/chat_format.h"
#include "train/rollouts.h"

namespace retort::pipeline {

struct RolloutOptions {
  SamplingOptions sampling;        // seed: of all rounds
  std::size_t context_tokens = 0;  // that a prompt and its answer must fit into
  std::string student_name;
  std::string run_as;  // the type it computes in
};

class Rollouts final : public train::RolloutSource {
 public:
  // `exchanges`: whose prompts are asked, with their ids. Errors: kCaller when none leaves room for an answer; kWorld
  // when the store can't be opened.
  static Result<Rollouts> open(const std::filesystem::path& store, std::vector<Exchange> exchanges,
                               const tokens::ChatFormat& format, RolloutOptions options, const Clock& clock);
  Result<std::vector<dataset::Example>> round(TokenGenerator& student, const train::RolloutRound& round,
                                              std::stop_token stop) override;

 private:
  Rollouts(store::ExchangeStore store, std::vector<Exchange> exchanges, const tokens::ChatFormat& format,
           RolloutOptions options, const Clock& clock);
  // The conversation up to the last answer; empty when there is none.
  static TokenizedConversation prompt_of(const Exchange& exchange);
  Exchange exchange(const Exchange& asked, TokenizedConversation tokens, FinishReason reason,
                    const train::RolloutRound& round, const SamplingOptions& sampling) const;
  // Indices of the exchanges that a round asks.
  std::vector<std::size_t> asked_in(const train::RolloutRound& round) const;

  store::ExchangeStore store_;
  std::vector<Exchange> exchanges_;
  const tokens::ChatFormat* format_;
  RolloutOptions options_;
  const Clock* clock_;
  double mean_tokens_ = 1;  // of the exchanges
};

}  // namespace retort::pipeline
