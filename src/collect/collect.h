// Asks a teacher for exchanges, many at a time, and never twice for the same thing.
//
// A run of collect() has numbered slots: a sample of a row of the prompt file (slot_plan.h), or the i-th self-generated
// exchange (Magpie, arXiv 2406.08464: the teacher samples the user's turn from its own template, then the answer). Each
// draws from a seed of its own, so that what it asks doesn't depend on the others. A finished exchange is in the store
// before the next is asked, with a note of its slot: the same call after a kill -9 asks only what is missing.
//
// Collect knows no engine: TokenGenerator keeps its batch full from here. One thread; progress and clock are called
// from it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/progress.h"
#include "collect/collect_options.h"
#include "collect/prompt_spool.h"
#include "exchange/engine.h"
#include "exchange/exchange.h"
#include "store/exchange_store.h"
#include "tokens/chat_format.h"

namespace retort::collect {

// Who is asked, and by what right: goes into every exchange's provenance.
struct Source {
  ModelIdentity model;
  std::string terms;  // terms::Decision::record()
};

// Tokens and seconds of one phase of generation.
struct Phase {
  std::int64_t sampled_tokens = 0;
  double seconds = 0;
  double tokens_per_s() const { return seconds > 0 ? static_cast<double>(sampled_tokens) / seconds : 0; }
};

struct CollectSummary {
  std::vector<Digest> ids;     // in slot order, without the slots that gave nothing
  std::int64_t asked = 0;      // answered by the teacher in this call
  std::int64_t reused = 0;     // were in the store
  std::int64_t from_file = 0;  // came with an answer
  // Self-generated user's turns that were drawn again, and slots that were given up.
  std::int64_t empty_user_turns = 0;
  std::int64_t long_user_turns = 0;
  std::int64_t broken_user_turns = 0;   // not a text
  std::int64_t refused_user_turns = 0;  // the teacher, or its provider's filter, declined to write one
  std::int64_t slots_given_up = 0;
  // Over all ids, also those of earlier calls.
  std::int64_t truncated_answers = 0;  // cut at max_tokens
  std::int64_t user_tokens = 0;        // sampled by the teacher
  std::int64_t answer_tokens = 0;
  PromptIntake intake;  // of a prompt file: what was left out and masked
  Phase full;           // while there was always another request to fill the batch
  Phase tail;           // while the last ones finished
};

// `prompts`: what options.prompts came to; none where they are self_generated.
// Errors: kCaller for a conversation with tools, which a model file's template isn't given (which line), a prompt
// longer than the context (which line, both lengths), self_generated without a count, options out of range; kWorld from
// the store; kInterrupted when stopped, with everything finished kept.
Result<CollectSummary> collect(TokenGenerator& generator, const tokens::ChatFormat& format, const Source& source,
                               const CollectOptions& options, const PromptSpool* prompts, store::ExchangeStore& store,
                               const Clock& clock, Progress& progress, std::stop_token stop);

}  // namespace retort::collect
