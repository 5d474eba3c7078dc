// One JSON row of a prompt file as a conversation. Internal to the module; pure; any thread.
//
// Errors (kCaller) are sentences that can follow "FILE, line N: "; they don't repeat the row's text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json_fwd.h"
#include "collect/prompts.h"

namespace retort::collect {

inline constexpr std::size_t kDeepestRow = 128;  // values nested in each other

// JSON that is safe to walk: UTF-8 and nested no deeper than kDeepestRow.
Result<Json> parse_row(std::string_view text);

// A row with `messages`, `prompt` or `conversations`; `line` isn't set.
Result<PromptRow> json_prompt_row(std::string_view text);

// The turns of ShareGPT: `from` and `value` each. Calls and results of tools become messages as the OpenAI API has
// them.
Result<std::vector<Message>> sharegpt_messages(const Json& turns);

// Makes a row of a whole conversation: the last assistant's turn becomes the answer. Error: an order of roles that
// can't be asked, or an empty turn.
Result<PromptRow> row_of(std::vector<Message> messages);

// "a number", "a list": what stands there, for a sentence.
std::string kind_of(const Json& value);

}  // namespace retort::collect
