// How a served teacher is brought to write a user's turn, which it is then asked: the part in which the ways of
// collect/self_generated.h differ.
//
// Two ways. A completions API goes on with the beginning of the template's user turn (Magpie): what comes is what the
// model takes for a user's message. A chat API takes whole messages only, so the teacher is asked in words for one, by
// an instruction of collect/prompt_table.h (docs/decisions/0017).
//
// Pure; any thread. A writer owns what it was given; its dialects live as long as it does.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/json_fwd.h"
#include "collect/prompt_rows.h"
#include "collect/raw_turns.h"
#include "exchange/exchange.h"
#include "provider/dialect.h"

namespace retort::collect {

enum class TurnFlaw : std::uint8_t {
  kNone,
  kEmpty,
  kCut,      // at max_user_tokens
  kRefused,  // the teacher declines to write it, or its provider filters it
  kBroken,   // control tokens, or words around the message that aren't the user's
};

// What the way in which a reply ended says of it, whoever wrote it.
constexpr TurnFlaw flaw_of(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEnd: return TurnFlaw::kNone;
    case FinishReason::kLength: return TurnFlaw::kCut;
    case FinishReason::kFiltered: return TurnFlaw::kRefused;
    default: return TurnFlaw::kBroken;
  }
}

struct WrittenTurn {
  TurnFlaw flaw = TurnFlaw::kNone;
  std::string text;  // the user's message where there is no flaw
};

class TurnWriter {
 public:
  virtual ~TurnWriter() = default;
  // What is asked for `count` turns of up to `most_tokens`, one a row. The first rows don't depend on the count.
  virtual std::unique_ptr<PromptRows> asks(std::int64_t count, std::uint64_t seed, std::int64_t most_tokens) const = 0;
  virtual WrittenTurn read(const Completion& completion) const = 0;
  // With which turns are asked for and answered; none: that of teacher.api.
  virtual const provider::Dialect* turn_dialect() const { return nullptr; }
  virtual const provider::Dialect* answer_dialect() const { return nullptr; }
  // What is read around a turn when it is answered, a system message apart where the dialect sends one.
  virtual std::int64_t answer_bytes(const std::string& system) const = 0;
  // Everything that decides what is asked and what is taken for a turn, beside what a job's name holds anyway: an
  // object.
  virtual Json identity() const = 0;
};

std::unique_ptr<TurnWriter> template_turns(RawTurns turns);
std::unique_ptr<TurnWriter> asked_turns();

}  // namespace retort::collect
