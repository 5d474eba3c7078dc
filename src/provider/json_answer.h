// What the dialects share in reading answers. Internal to the module.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "exchange/told_tokens.h"
#include "net/sse.h"
#include "net/transport.h"

namespace retort::provider {

// The member when it is a text; else "".
std::string text_or_empty(const Json& object, const char* key);
// The member when it is a whole number that isn't negative; else 0.
std::int64_t count_or_zero(const Json& object, const char* key);
// The member, or null.
const Json& part_of(const Json& object, const char* key);

// An entry of `logprobs.content` as the chat and responses APIs write it. Throws as the JSON library does.
ToldToken told_token(const Json& entry);

// Error (kWorld) "The answer is malformed: …".
Failure malformed(const std::string& what);

// As Json::parse() without exceptions, several times as fast: discarded where it isn't JSON.
Json parsed_answer(std::string_view text);

bool is_event_stream(const net::HttpOutcome& outcome);
// The body as a JSON object, when the content type says JSON.
Result<Json> json_body(const net::HttpOutcome& outcome);
// The events of a stream, each given as JSON with its type; `[DONE]` as null. Error: not JSON, or an error event, in
// its words.
Result<void> for_each_event(const net::HttpOutcome& outcome,
                            const std::function<Result<void>(const std::string& type, const Json& data)>& visit);

std::string header_text(const net::HttpOutcome& outcome, std::string_view name);

// Runs `read`, with every complaint of the JSON library as a malformed answer.
template <class T, class Read>
Result<T> reading(const Read& read) {
  try {
    return read();
  } catch (const nlohmann::json::exception&) {
    return malformed("a member has an unexpected type");
  }
}

}  // namespace retort::provider
