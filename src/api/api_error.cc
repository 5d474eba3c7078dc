#include "api/api_error.h"

#include <cmath>

#include "base/json.h"

namespace retort::api {
namespace {

using Ordered = nlohmann::ordered_json;

std::string text_of(const Ordered& json) { return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace); }

Ordered text_or_null(const std::string& text) { return text.empty() ? Ordered(nullptr) : Ordered(text); }

Ordered openai_error(const ApiError& error) {
  return {{"error",
           {{"message", error.message},
            {"type", error_type(Family::kOpenAi, error.status)},
            {"param", text_or_null(error.param)},
            {"code", text_or_null(error.code)}}}};
}

Ordered anthropic_error(const ApiError& error, std::string_view request_id) {
  return {{"type", "error"},
          {"error", {{"type", error_type(Family::kAnthropic, error.status)}, {"message", error.message}}},
          {"request_id", text_or_null(std::string(request_id))}};
}

std::string_view openai_type(int status) {
  switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 429: return "rate_limit_error";
    default: return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

std::string_view anthropic_type(int status) {
  switch (status) {
    case 401: return "authentication_error";
    case 402: return "billing_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 408:
    case 504: return "timeout_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case 503:
    case 529: return "overloaded_error";
    default: return status >= 500 ? "api_error" : "invalid_request_error";
  }
}

}  // namespace

std::string_view error_type(Family family, int status) {
  return family == Family::kOpenAi ? openai_type(status) : anthropic_type(status);
}

net::HttpResponse error_response(Family family, const ApiError& error, std::string_view request_id) {
  const bool openai = family == Family::kOpenAi;
  net::HttpResponse response =
      net::json_response(error.status, text_of(openai ? openai_error(error) : anthropic_error(error, request_id)));
  response.headers.add("x-should-retry", error.retry ? "true" : "false");
  if (error.retry_after_s > 0 && std::isfinite(error.retry_after_s)) {
    response.headers.add("Retry-After", std::to_string(std::llround(std::ceil(error.retry_after_s))));
    response.headers.add("retry-after-ms", std::to_string(std::llround(std::ceil(error.retry_after_s * 1000))));
  }
  if (!request_id.empty()) response.headers.add(openai ? "x-request-id" : "request-id", std::string(request_id));
  return response;
}

std::string error_event(Operation operation, const ApiError& error, std::string_view request_id,
                        std::int64_t sequence) {
  if (operation == Operation::kMessages) {
    return "event: error\ndata: " + text_of(anthropic_error(error, request_id)) + "\n\n";
  }
  if (operation == Operation::kResponses || operation == Operation::kStored) {
    const Ordered json = {{"type", "error"},
                          {"code", text_or_null(error.code)},
                          {"message", error.message},
                          {"param", text_or_null(error.param)},
                          {"sequence_number", sequence + 1}};
    return "event: error\ndata: " + text_of(json) + "\n\n";
  }
  return "data: " + text_of(openai_error(error)) + "\n\n";
}

}  // namespace retort::api
