#include "provider/dialect.h"

#include "provider/json_answer.h"

namespace retort::provider {

ApiError api_error(std::string_view body) {
  ApiError error;
  const Json json = Json::parse(body, nullptr, false);
  if (!json.is_object()) return error;
  const Json& inner = json.contains("error") ? json["error"] : json;
  if (inner.is_string()) {
    error.message = inner.get<std::string>();
    return error;
  }
  error.message = text_or_empty(inner, "message");
  error.type = text_or_empty(inner, "type");
  error.code = text_or_empty(inner, "code");
  if (error.message.empty()) error.message = text_or_empty(inner, "detail");  // how FastAPI says it
  return error;
}

}  // namespace retort::provider
