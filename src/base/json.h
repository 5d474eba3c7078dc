// JSON for documents and canonical bytes.
//
// Json keeps object keys sorted, so that canonical_json() of equal values gives equal bytes: the base of every id.
// Headers that only name the type include <nlohmann/json_fwd.hpp> through base/json_fwd.h.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json_fwd.h"

namespace retort {

// Error: a sentence with line and column, and `what` in front ("prompts.jsonl, line 3").
Result<Json> parse_json(std::string_view text, std::string_view what);

// Keys sorted, no spaces, UTF-8 unescaped, shortest numbers that read back the same. Invalid UTF-8 becomes U+FFFD.
std::string canonical_json(const Json& value);

// The member `key` as T, or an error that names `what`, the key and the type found.
template <class T>
Result<T> member(const Json& object, std::string_view key, std::string_view what) {
  const auto found = object.find(std::string(key));
  if (found == object.end()) {
    return caller_error(std::string(what) + ": the member '" + std::string(key) + "' is missing.");
  }
  try {
    return found->template get<T>();
  } catch (const nlohmann::json::exception&) {
    return caller_error(std::string(what) + ": the member '" + std::string(key) + "' has the wrong type (" +
                        found->type_name() + ").");
  }
}

}  // namespace retort
