// What a request asks for, read whole before anything is decided.
//
// Refused are bodies that two readers could read in two ways: the same key twice in an object (at any depth), invalid
// UTF-8, nesting beyond 128, and what isn't JSON. A null is as good as no member, as the official clients have it. One
// reader per thread (it keeps its memory); the facts are values.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/route.h"
#include "base/error.h"

namespace retort::api {

struct RequestFacts {
  std::string model;
  bool stream = false;
  bool include_usage = false;              // stream_options.include_usage, as the client set it
  std::optional<std::int64_t> max_tokens;  // of an answer, reasoning with it: whichever of its names the API has
  std::int64_t n = 1;                      // answers asked for: n or best_of, the larger, for each prompt of a list
  bool logprobs = false;                   // asked for in any form (logprobs, top_logprobs, prompt_logprobs, include)
  std::int64_t top_logprobs = 0;           // alternatives a place
  bool echo = false;                       // completions: the prompt's own log-probabilities
  bool logit_bias = false;
  bool seed = false;
  bool store = false;  // kept by the provider; responses: true unless said otherwise
  bool background = false;
  bool tools = false;                 // tools (or functions) are given
  bool reasoning = false;             // asked for: reasoning_effort, reasoning, thinking, include reasoning
  std::int64_t reasoning_budget = 0;  // tokens, where said (thinking.budget_tokens)
  bool continues = false;  // previous_response_id, conversation or item_reference: what the provider remembers is read
  bool blobs = false;      // opaque reasoning may be in it (api/blobs.h)
  std::string end_user;    // safety_identifier, user or metadata.user_id; "" when none
  std::int64_t prompt_bytes = 0;  // of text in messages, input, system, instructions and prompt; four a token's id
  std::int64_t other_bytes = 0;   // of keys and values elsewhere: tool schemas, calls, images and everything else
  std::int64_t media_bytes = 0;   // of other_bytes: images, sound and files, by value or by address
};

// What a request may ask for at most, so that products of facts and prices stay within 64 bits; more is refused.
inline constexpr std::int64_t kMostTokens = 100'000'000;
inline constexpr std::int64_t kMostAnswers = 100'000;

class RequestReader {
 public:
  RequestReader();
  ~RequestReader();
  RequestReader(RequestReader&&) noexcept;
  RequestReader& operator=(RequestReader&&) noexcept;

  // Error (kCaller): a sentence for the client: not JSON, not an object, a key twice, no `model`, a field of the wrong
  // type (only fields listed above are looked at).
  Result<RequestFacts> read(Operation operation, std::string_view body);
  // The texts of the prompt in order (system or instructions first), for sketches. Only for bodies that read() took.
  std::vector<std::string> prompt_texts(Operation operation, std::string_view body);

 private:
  struct Inside;
  std::unique_ptr<Inside> inside_;
};

}  // namespace retort::api
