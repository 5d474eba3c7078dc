#include "provider/json_answer.h"

#include <simdjson.h>

#include "base/text.h"
#include "provider/dialect.h"

namespace retort::provider {
namespace {

namespace dom = simdjson::dom;

Json to_json(const dom::element& element) {
  switch (element.type()) {
    case dom::element_type::OBJECT: {
      Json::object_t object;
      for (const auto& [key, value] : dom::object(element)) object[std::string(key)] = to_json(value);
      return object;
    }
    case dom::element_type::ARRAY: {
      Json::array_t array;
      for (const dom::element& value : dom::array(element)) array.push_back(to_json(value));
      return array;
    }
    case dom::element_type::STRING: return std::string(std::string_view(element));
    case dom::element_type::INT64: {
      const std::int64_t value(element);
      return value >= 0 ? Json(static_cast<std::uint64_t>(value)) : Json(value);  // as nlohmann's own parser has it
    }
    case dom::element_type::UINT64: return std::uint64_t(element);
    case dom::element_type::DOUBLE: return double(element);
    case dom::element_type::BOOL: return bool(element);
    case dom::element_type::NULL_VALUE: return nullptr;
  }
  return nullptr;
}

// A token's bytes: the text is them only where it is whole UTF-8.
std::string bytes_of(const Json& entry) {
  std::string bytes;
  for (const Json& byte : part_of(entry, "bytes")) bytes.push_back(static_cast<char>(byte.get<std::uint8_t>()));
  return bytes.empty() ? entry.at("token").get<std::string>() : bytes;
}

}  // namespace

ToldToken told_token(const Json& entry) {
  ToldToken token{bytes_of(entry), entry.at("logprob").get<double>(), {}};
  for (const Json& other : part_of(entry, "top_logprobs")) {
    token.likeliest.emplace_back(bytes_of(other), other.at("logprob").get<double>());
  }
  return token;
}

Json parsed_answer(std::string_view text) {
  dom::parser parser;
  dom::element element;
  // What it doesn't take (numbers beyond 64 bits, deep nesting, no JSON at all) is for the other one to judge.
  if (parser.parse(text.data(), text.size()).get(element) != simdjson::SUCCESS)
    return Json::parse(text, nullptr, false);
  return to_json(element);
}

std::string text_or_empty(const Json& object, const char* key) {
  const Json& found = part_of(object, key);
  return found.is_string() ? found.get<std::string>() : std::string();
}

std::int64_t count_or_zero(const Json& object, const char* key) {
  const Json& found = part_of(object, key);
  if (!found.is_number_integer()) return 0;
  return std::max<std::int64_t>(0, found.get<std::int64_t>());
}

const Json& part_of(const Json& object, const char* key) {
  static const Json none;
  if (!object.is_object()) return none;
  const auto found = object.find(key);
  return found == object.end() ? none : *found;
}

Failure malformed(const std::string& what) { return world_error("The answer is malformed: " + what + "."); }

std::string header_text(const net::HttpOutcome& outcome, std::string_view name) {
  return std::string(outcome.headers.find(name).value_or(""));
}

bool is_event_stream(const net::HttpOutcome& outcome) {
  return to_lower_ascii(header_text(outcome, "content-type")).starts_with("text/event-stream");
}

Result<Json> json_body(const net::HttpOutcome& outcome) {
  const std::string type = to_lower_ascii(header_text(outcome, "content-type"));
  if (!type.starts_with("application/json")) {
    return malformed("its content type is '" + type.substr(0, 60) + "', not JSON");
  }
  Json json = parsed_answer(outcome.body);
  if (json.is_discarded()) return malformed("it is not JSON");
  if (!json.is_object()) return malformed("it is not a JSON object");
  // Some servers say 200 and mean an error.
  if (part_of(json, "error").is_object()) return malformed("it holds an error: " + api_error(outcome.body).message);
  return json;
}

Result<void> for_each_event(const net::HttpOutcome& outcome,
                            const std::function<Result<void>(const std::string& type, const Json& data)>& visit) {
  for (const net::SseEvent& event : net::parse_sse(outcome.body)) {
    if (trim(event.data) == "[DONE]") {
      RETORT_TRY(visit(event.type, Json()));
      continue;
    }
    const Json data = parsed_answer(event.data);
    if (!data.is_object()) return malformed("an event of the stream is not a JSON object");
    if (part_of(data, "error").is_object()) {
      return malformed("the stream ended with an error: " + api_error(event.data).message);
    }
    RETORT_TRY(visit(event.type, data));
  }
  return {};
}

}  // namespace retort::provider
