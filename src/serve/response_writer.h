// Answers in the API's own form: whole, or as the chunks of a stream. Pure; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json_fwd.h"
#include "exchange/exchange.h"
#include "serve/generation_request.h"

namespace retort::serve {

// A token as clients see it.
struct ShownToken {
  TokenId id = 0;
  std::string bytes = {};              // of the token itself: a control token's name, part of a character
  std::optional<double> logprob = {};  // absent: nothing predicts the first token of a prompt
  std::vector<std::pair<std::string, double>> top = {};  // the likeliest: bytes and logprob, best first
  std::size_t text_offset = 0;                           // code points of the answer's text before it
};

// A part of one choice, or all of it.
struct ChoicePart {
  std::size_t index = 0;
  std::string text = {};
  std::vector<ShownToken> tokens = {};                  // when logprobs were asked for
  std::vector<TokenId> ids = {};                        // when token ids were asked for
  std::optional<std::vector<TokenId>> prompt_ids = {};  // likewise, in a choice's first part
  std::optional<std::string> finish_reason = {};        // "stop", "length"; absent: it goes on
  bool first = false;                                   // of its choice
};

struct Usage {
  std::size_t prompt_tokens = 0;
  std::size_t completion_tokens = 0;
};

class ResponseWriter {
 public:
  ResponseWriter(const GenerationRequest& request, std::string id, std::int64_t created_s);

  // The whole answer; `choices` in the order of their indices.
  Json whole(const std::vector<ChoicePart>& choices, const Usage& usage) const;
  // Chunks of a stream. A chat's first chunk of a choice carries the role.
  Json chunk(const ChoicePart& part) const;
  Json usage_chunk(const Usage& usage) const;

 private:
  Json envelope(bool streamed) const;
  Json choice(const ChoicePart& part, bool streamed) const;
  Json logprobs(const ChoicePart& part) const;

  Endpoint endpoint_;
  std::string model_;
  std::string id_;
  std::int64_t created_s_;
  bool wants_logprobs_;
  bool wants_ids_;
  bool wants_usage_;
};

// How a token's bytes are written as a text: themselves when they are UTF-8, else "bytes:\xe2\x96", as OpenAI does.
std::string token_text(const std::string& bytes);

}  // namespace retort::serve
