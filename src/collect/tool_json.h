// Tools and calls as they stand in prompt files, brought into the one form that exchanges keep: canonical JSON arrays
// in the form of the OpenAI API. Internal to the module; pure; any thread.
//
// Errors (kCaller) are sentences that can follow "FILE, line N: ".
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/json_fwd.h"
#include "exchange/exchange.h"

namespace retort::collect {

// A list of tools, or a text that holds one; {"name", …} alone is a function. Null and an empty list give "".
Result<std::string> tools_text(const Json& tools);

// An assistant's calls, or a text that holds them: {"id", "type", "function": {"name", "arguments"}} each, or {"name",
// "arguments"} alone. Arguments become a text; calls without an id get "call_N", N counting from `first` + 1.
Result<Json> tool_calls(const Json& calls, std::size_t first);

// Which calls of a conversation are answered by which results.
class CallLedger {
 public:
  std::size_t made() const { return made_; }
  void call(const Json& calls);
  // A result: links one that doesn't say which call it answers to the first that none answers yet. Error: it names a
  // call that nobody made.
  Result<void> answer(Message& result);
  // Before any other turn. Error: calls are left without a result.
  Result<void> settled() const;

 private:
  std::vector<std::string> ids_;   // all
  std::vector<std::string> open_;  // without a result
  std::size_t made_ = 0;
};

}  // namespace retort::collect
