#include "serve/api_error.h"

#include "base/json.h"

namespace retort::serve {
namespace {

Json text_or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

}  // namespace

ApiError bad_request(std::string message, std::string param, std::string code) {
  return {.status = 400, .message = std::move(message), .param = std::move(param), .code = std::move(code)};
}

ApiError unavailable(std::string message, std::string code) {
  return {.status = 503, .message = std::move(message), .type = "server_error", .param = "", .code = std::move(code)};
}

ApiError api_error_of(const Error& error, std::string param) {
  if (error.fault == Fault::kCaller) return bad_request(error.message, std::move(param));
  if (error.fault == Fault::kInterrupted) return unavailable(error.message, "stopping");
  return {.status = 500, .message = error.message, .type = "server_error", .param = "", .code = "engine_failed"};
}

Json to_json(const ApiError& error) {
  return {{"error",
           {{"message", error.message},
            {"type", error.type},
            {"param", text_or_null(error.param)},
            {"code", text_or_null(error.code)}}}};
}

net::HttpResponse response_of(const ApiError& error) {
  net::HttpResponse response = net::json_response(error.status, canonical_json(to_json(error)));
  if (error.status == 503) response.headers.add("Retry-After", "1");
  return response;
}

}  // namespace retort::serve
