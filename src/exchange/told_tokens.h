// What a service tells of an answer's tokens besides its text: Completion::logprobs, written and read back.
//
// Plain values; any thread.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json_fwd.h"
#include "exchange/exchange.h"

namespace retort {

// A token of an answer as the service draws them: not those of a local tokenizer.
struct ToldToken {
  std::string bytes;                                      // may be part of a UTF-8 character
  double logprob = 0;                                     // nats
  std::vector<std::pair<std::string, double>> likeliest;  // bytes and nats, if the service tells them
  bool operator==(const ToldToken&) const = default;
};

// One entry of the array. A token that is no whole UTF-8 is written as the list of its bytes.
Json to_json(const ToldToken& token);

// Empty where nothing was told. Error: not what to_json() writes.
Result<std::vector<ToldToken>> told_tokens(const Completion& completion);

}  // namespace retort
