// What is wrong with a request, in the form that OpenAI-compatible clients read:
// {"error": {"message", "type", "param", "code"}}, all four keys always there.
//
// Values; any thread.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

#include "base/error.h"
#include "base/json_fwd.h"
#include "net/http.h"

namespace retort::serve {

struct ApiError {
  int status = 400;
  std::string message;  // whole sentences
  std::string type = "invalid_request_error";
  std::string param = {};  // the member it is about; empty: null
  std::string code = {};   // empty: null
};

template <class T>
using ApiResult = tl::expected<T, ApiError>;

ApiError bad_request(std::string message, std::string param = "", std::string code = "");
// 503 with Retry-After.
ApiError unavailable(std::string message, std::string code);
// kCaller becomes 400, the others 500 or 503.
ApiError api_error_of(const Error& error, std::string param);

Json to_json(const ApiError& error);
net::HttpResponse response_of(const ApiError& error);

}  // namespace retort::serve
