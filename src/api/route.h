// Which operation of which model API a request asks for. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "net/http.h"

namespace retort::api {

enum class Family : std::uint8_t { kOpenAi, kAnthropic };

enum class Operation : std::uint8_t {
  kChat,         // POST /v1/chat/completions
  kCompletions,  // POST /v1/completions
  kResponses,    // POST /v1/responses
  kMessages,     // POST /v1/messages
  kCountTokens,  // POST /v1/messages/count_tokens, /v1/responses/input_tokens: nothing is generated
  kModels,       // GET /v1/models[/ID]
  kEmbeddings,   // POST /v1/embeddings
  kModerations,  // POST /v1/moderations
  kFiles,        // /v1/files…: what batches are made of
  kBatches,      // /v1/batches…, /v1/messages/batches…
  kStored,       // answers kept by the provider: GET, POST, DELETE /v1/chat/completions…, /v1/responses/ID…,
                 // /v1/conversations…
  kOther,        // anything else under /v1/: passed or refused by policy, never taken for something known
  kNone,         // not under /v1/
};
std::string_view name_of(Operation operation);
// Whether a model generates text for it: these are metered, limited and recorded as exchanges.
bool generates(Operation operation);

// "openai.chat", "openai.responses", "anthropic.messages" for those that generate (completions count as chat), else "".
std::string_view dialect_of(Operation operation);

// The operation a recorded exchange of this dialect is read as; nothing: there is no such dialect.
std::optional<Operation> operation_of(std::string_view dialect);

struct Route {
  Family family = Family::kOpenAi;
  Operation operation = Operation::kNone;
  std::string id;  // of /v1/models/ID and the like, percent-decoded; else ""
};

// Paths that both APIs have (/v1/models, /v1/files) are Anthropic's where the request has `anthropic-version`.
// A path that tries to be another ("/v1/../", "//", "%2e", "%2f" before the id) is kNone.
Route route_of(const net::HttpRequest& request);

}  // namespace retort::api
