// How an API is asked and what its answers mean: one Dialect each, pure functions between our nouns and its bytes.
//
// A Dialect knows no socket, no key and no clock. read() takes an answer for whole only when the service said that it
// is: a body that isn't JSON, an unfinished stream, or a missing reason to end is told as what it is, and never becomes
// a Completion. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "exchange/exchange.h"
#include "net/http.h"
#include "net/transport.h"

namespace retort::provider {

// Tokens as the service counts them; reasoning is part of the output.
struct Usage {
  std::int64_t input = 0;
  std::int64_t output = 0;
  std::int64_t reasoning = 0;
};

// How one request is to be answered.
struct AskOptions {
  SamplingOptions sampling;
  // Log-probabilities of the sampled tokens, and of so many most likely ones at each place. Absent: none asked for.
  std::optional<int> top_logprobs;
  bool stream = false;
  // OpenAI's newer models know the limit by this name only; most compatible servers by the older one.
  bool max_completion_tokens = false;
  bool seed = true;  // send one, where the API has it
  // Of the API that goes on with a text: what ends an answer, and whether the text is a template's own, whose special
  // tokens are tokens.
  std::vector<std::string> stop = {};
  bool template_text = false;
};

struct Answer {
  Completion completion;
  std::optional<Usage> usage;  // absent: the service didn't say
  std::string answered_as;     // the model's name in the answer
  std::string request_id;
};

class Dialect {
 public:
  virtual ~Dialect() = default;
  virtual std::string_view name() const = 0;  // "openai.chat": as in ServedBy::api
  virtual std::string_view path() const = 0;  // below the endpoint's URL: "/chat/completions"
  // The JSON that asks. Error (kCaller): the prompt holds something that this API has no word for.
  virtual Result<std::string> body(const std::string& model, const Prompt& prompt, const AskOptions& options) const = 0;
  // Bytes that body() writes around a prompt beyond its own: for the worst case.
  virtual std::int64_t bytes_around() const { return 0; }
  // The fields that carry the key ("" when there is none) and the version.
  virtual net::Headers headers(const std::string& key) const = 0;
  // The answer in a response of status 200. Error (kWorld): what is wrong with it.
  virtual Result<Answer> read(const net::HttpOutcome& outcome) const = 0;
};

const Dialect& openai_chat();
const Dialect& openai_responses();
const Dialect& anthropic_messages();

// What a refusal says in either API's error form: its words, type and code; each may be empty.
struct ApiError {
  std::string message;
  std::string type;
  std::string code;
};
ApiError api_error(std::string_view body);

}  // namespace retort::provider
