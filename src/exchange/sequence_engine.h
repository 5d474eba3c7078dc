// The interface of an engine that is asked by many at once: sequences join and leave while others run.
//
// TokenGenerator (engine.h) is for a list of work that one caller drives; this is for a server. llama implements it
// (ContinuousEngine); serve and its tests know only this.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <stop_token>
#include <vector>

#include "base/error.h"
#include "exchange/exchange.h"

namespace retort {

// Hears what becomes of one sequence. All calls come from the engine's own thread, in order, and hold up every other
// sequence: be quick and never block. The last call is finished() or failed().
class SequenceSink {
 public:
  virtual ~SequenceSink() = default;
  // The raw logits that follow prompt token `position`, so they predict the token at position + 1; ascending from 0, up
  // to the last but one. Only when prompt_logits was asked for.
  virtual void prompt_row(std::size_t /*position*/, std::span<const float> /*logits*/) {}
  // A token was drawn from `logits`; an end id is reported too. False: that is enough, finished(kEnd) follows.
  virtual bool sampled(TokenId id, std::span<const float> logits) = 0;
  virtual void finished(FinishReason reason) = 0;
  // kInterrupted: stopped by its token, or the engine ended. kWorld: the model could not be computed.
  virtual void failed(const Error& error) = 0;
};

struct SequenceRequest {
  std::vector<TokenId> prompt_ids;
  // max_tokens 0: the prompt is read and nothing is drawn. Negative: until the context is full.
  SamplingOptions sampling;
  // Drawing one of these ends the sequence (kEnd).
  std::vector<TokenId> end_ids;
  bool prompt_logits = false;
  // Requested: the sequence leaves before the next step.
  std::stop_token stop;
  std::shared_ptr<SequenceSink> sink;
};

class SequenceEngine {
 public:
  virtual ~SequenceEngine() = default;
  // Queues all of them, or none. Any thread; returns at once. Errors: kCaller, a request that can never run (empty, too
  // long, ids outside the vocabulary, options out of range); kWorld, the queue is full.
  virtual Result<void> submit(std::vector<SequenceRequest> requests) = 0;
  virtual std::size_t vocabulary() const = 0;
  // Tokens a sequence may hold, prompt and answer together.
  virtual std::size_t context_tokens() const = 0;
  // Sequences that run at once, and how many run and wait now. Any thread.
  virtual std::size_t parallel() const = 0;
  virtual std::size_t running() const = 0;
  virtual std::size_t waiting() const = 0;
};

}  // namespace retort
