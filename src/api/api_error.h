// Errors in the form of the API that was asked. Pure; any thread.
//
// OpenAI: {"error":{"message","type","param","code"}}, all four keys. Anthropic: {"type":"error","error":{"type",
// "message"},"request_id"}. Types follow from the status as the two APIs document it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "api/route.h"
#include "net/http.h"

namespace retort::api {

struct ApiError {
  int status = 400;
  std::string message;       // sentences
  std::string code;          // OpenAI's `code` ("" is null): "policy_denied", "rate_limit_exceeded", …
  std::string param;         // "" is null
  bool retry = false;        // x-should-retry: said for every error of the gateway's own
  double retry_after_s = 0;  // Retry-After (rounded up) and retry-after-ms, when above 0
};

// "invalid_request_error", "rate_limit_error", …
std::string_view error_type(Family family, int status);

// With Content-Type, x-should-retry and, where told, the family's header of a request's id (x-request-id or request-id:
// what the official clients show).
net::HttpResponse error_response(Family family, const ApiError& error, std::string_view request_id);

// The event that ends a stream which upstream broke off, in the operation's form: never a false end.
//   chat, completions: data: {"error":{…}}      (no [DONE])
//   responses:         event: error, data: {"type":"error","code","message","param","sequence_number":…}
//   messages:          event: error, data: {"type":"error","error":{…},"request_id"}
// `sequence`: of the responses' last event (AnswerFacts::sequence); the error's is the next.
std::string error_event(Operation operation, const ApiError& error, std::string_view request_id,
                        std::int64_t sequence = -1);

}  // namespace retort::api
