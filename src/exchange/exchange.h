// The nouns that flow through Retort: what was asked, what was answered, and where both came from.
//
// Everything here is a plain value. The id of an Exchange is the SHA-256 of its canonical bytes
// (docs/formats/exchange.md): nothing is edited in place, and whatever is derived names the ids it came from.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "base/json_fwd.h"

namespace retort {

using TokenId = std::int32_t;

enum class Role : std::uint8_t { kSystem, kUser, kAssistant, kTool };
std::string_view name_of(Role role);  // "system", "user", "assistant", "tool"
Result<Role> role_from_name(std::string_view name);

struct Message {
  Role role = Role::kUser;
  std::string content;  // UTF-8
  // Carried whole where a conversation has them: the calls of an assistant's turn as a canonical JSON array in the form
  // of the OpenAI API, which call a tool's turn answers, and the name of who speaks. Empty: none.
  std::string tool_calls = {};
  std::string tool_call_id = {};
  std::string name = {};
  bool operator==(const Message&) const = default;
};

// What is asked: the messages up to and with the last one that isn't the answer.
struct Prompt {
  std::vector<Message> messages;
  // The tools that may be called, as a canonical JSON array in the form of the OpenAI API. Empty: none.
  std::string tools = {};
  bool operator==(const Prompt&) const = default;
};

// Identity of a prompt: decides the split, so that no prompt stands on both sides.
Digest prompt_digest(const Prompt& prompt);

enum class FinishReason : std::uint8_t {
  kEnd,        // the model ended its turn itself
  kLength,     // cut at the token limit
  kToolCalls,  // ended with calls of tools
  kFiltered,   // cut by the provider's filter
  kUnknown,    // came from a file that doesn't say
};
std::string_view name_of(FinishReason reason);
Result<FinishReason> finish_reason_from_name(std::string_view name);

struct Completion {
  std::string text;  // UTF-8, without the end token
  FinishReason finish_reason = FinishReason::kUnknown;
  // What an API gives besides; empty where it doesn't. Reasoning is text; the others are canonical JSON arrays: calls
  // as in Message, and what exchange/told_tokens.h writes of each token.
  std::string reasoning = {};
  std::string tool_calls = {};
  std::string logprobs = {};
  bool operator==(const Completion&) const = default;
};

// Whose tokens [begin, end) of a tokenised conversation are. Masks go by position, never by id: padding, end of text
// and end of turn are often one id.
enum class SpanKind : std::uint8_t { kScaffold, kSystem, kUser, kAssistant, kTool };
std::string_view name_of(SpanKind kind);
Result<SpanKind> span_kind_from_name(std::string_view name);

struct TokenSpan {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
  SpanKind kind = SpanKind::kScaffold;
  // The teacher itself sampled these ids (so they can be learnt from, and re-tokenising the text may not give them).
  // An assistant's or sampled user's span includes its end-of-turn token when there is one.
  bool sampled = false;
  bool operator==(const TokenSpan&) const = default;
};

// A conversation as token ids, exactly as the teacher saw or sampled them. `spans` are ascending and don't overlap;
// what no span covers is scaffold of the template.
struct TokenizedConversation {
  std::vector<TokenId> ids;
  std::vector<TokenSpan> spans;
  Digest tokenizer_fingerprint;  // see tokens/tokenizer.h
  bool operator==(const TokenizedConversation&) const = default;
};

// How tokens were or are to be drawn. Zero disables top_k and min_p; top_p 1 disables it; temperature 0 is greedy.
struct SamplingOptions {
  double temperature = 0.8;
  double top_p = 0.95;
  std::int32_t top_k = 0;
  double min_p = 0;
  std::int32_t max_tokens = 160;
  std::uint64_t seed = 0;
  bool operator==(const SamplingOptions&) const = default;
};

// Which model answered: enough to find it again and to know that it is the same.
struct ModelIdentity {
  std::string name;        // general.name of the file, else its file name
  Digest file_digest;      // SHA-256 of the file
  Digest template_digest;  // SHA-256 of its chat template
  std::string run_as;      // the type it computed in ("F16", "Q4_1", …)
  bool operator==(const ModelIdentity&) const = default;
};

// Which service answered: enough to ask it about the request. Never a key.
struct ServedBy {
  std::string api;          // "openai.chat", "openai.completions", "openai.responses", "anthropic.messages"
  std::string endpoint;     // URL without credentials
  std::string model;        // as it was asked for
  std::string answered_as;  // the model's name in the answer
  std::string request_id;   // the service's own; empty: none given
  // As the service counts them; reasoning tokens are part of the output tokens.
  std::int64_t input_tokens = 0;
  std::int64_t output_tokens = 0;
  std::int64_t reasoning_tokens = 0;
  bool operator==(const ServedBy&) const = default;
};

enum class GeneratedBy : std::uint8_t {
  kTeacher,
  kFile,
  kStudent,  // while it was trained, to be judged by the teacher; `model` names the training and the step
};
std::string_view name_of(GeneratedBy by);
Result<GeneratedBy> generated_by_from_name(std::string_view name);

struct Provenance {
  GeneratedBy generated_by = GeneratedBy::kTeacher;
  std::string prompt_source;           // "self_generated", or the file's name
  std::optional<ModelIdentity> model;  // absent when the answer came from a file or a service
  std::optional<ServedBy> served;      // present when it came from a service
  std::optional<SamplingOptions> sampling;
  std::string code_version;  // of Retort
  std::string created_at;    // ISO 8601, UTC
  std::string terms;         // licence id and decision, as recorded when it was asked
  std::vector<Digest> derived_from;
  bool operator==(const Provenance&) const = default;
};

struct Exchange {
  Prompt prompt;
  Completion completion;
  TokenizedConversation tokens;
  Provenance provenance;
  bool operator==(const Exchange&) const = default;
};

// Canonical bytes (canonical JSON, version inside), their digest, and the way back. from_canonical_bytes refuses what
// to_canonical_bytes would not have written, so that an id has one spelling.
std::string to_canonical_bytes(const Exchange& exchange);
Digest exchange_id(const Exchange& exchange);
Result<Exchange> from_canonical_bytes(std::string_view bytes);

Json to_json(const Message& message);
Json to_json(const SamplingOptions& options);

}  // namespace retort
