// A conversation of one turn as the text that a completions API goes on with, and what ends its turns: with it a served
// teacher writes the user's turn too (Magpie, arXiv 2406.08464).
//
// Plain values and pure functions; any thread.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "collect/teacher_options.h"
#include "provider/dialect.h"
#include "tokens/chat_format.h"

namespace retort::collect {

struct RawTurns {
  std::string before_user;           // all up to the user's text, a system message included
  std::string after_user;            // from the user's end of turn to the place where the assistant's text begins
  std::vector<std::string> ends;     // what ends a turn, as stop sequences; four at most, as APIs take
  std::vector<std::string> control;  // a turn that holds one of these isn't a text
};

// As the format's own template writes it. A beginning-of-sequence token is left to the service, which adds it where the
// tokenizer does. Errors (kCaller): as ChatFormat::user_end_ids() and render_text().
Result<RawTurns> raw_turns_of(const tokens::ChatFormat& format, const std::string& system);
// As the recipe states it. Error (kCaller): a system message, whose place only a template knows.
Result<RawTurns> raw_turns_of(const TurnTexts& texts, const std::string& system);

// The completions API for template texts: a prompt of one user's turn is sent between `before` and `after`, a system
// message that it has is in `before`; `ends` stop the answer.
class RawCompletions final : public provider::Dialect {
 public:
  RawCompletions(std::string before, std::string after, std::vector<std::string> ends);
  std::string_view name() const override;
  std::string_view path() const override;
  Result<std::string> body(const std::string& model, const Prompt& prompt,
                           const provider::AskOptions& options) const override;
  std::int64_t bytes_around() const override;
  net::Headers headers(const std::string& key) const override;
  Result<provider::Answer> read(const net::HttpOutcome& outcome) const override;

 private:
  std::string before_, after_;
  std::vector<std::string> ends_;
};

}  // namespace retort::collect
