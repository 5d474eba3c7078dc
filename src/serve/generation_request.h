// A request to generate or score, validated: what request_parser makes of JSON and everything after it reads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "exchange/exchange.h"

namespace retort::serve {

enum class Endpoint : std::uint8_t { kChat, kCompletions };

// A prompt of /v1/completions: text to be tokenised, or ids as they are.
using PromptInput = std::variant<std::string, std::vector<TokenId>>;

inline constexpr int kMostTopLogprobs = 20;

struct GenerationRequest {
  Endpoint endpoint = Endpoint::kChat;
  std::string model;
  std::vector<Message> messages;     // chat
  std::vector<PromptInput> prompts;  // completions; at least one
  // The seed counts only when `seeded`; max_tokens -1: until the context is full.
  SamplingOptions sampling;
  bool seeded = false;
  std::int32_t n = 1;
  std::vector<std::string> stop;  // none of them empty
  // Absent: no logprobs. Otherwise of the token itself, and of so many of the likeliest.
  std::optional<int> top_logprobs;
  bool echo = false;
  bool stream = false;
  bool include_usage = false;
  // Beyond OpenAI's API, under the names that vLLM or llama.cpp use:
  bool return_token_ids = false;
  bool ignore_eos = false;     // an end token doesn't end the answer
  bool parse_special = false;  // "<|im_end|>" in a text prompt is the token
};

}  // namespace retort::serve
