#include "exchange/told_tokens.h"

#include <cstdint>

#include "base/json.h"
#include "base/text.h"

namespace retort {
namespace {

constexpr const char* kWhat = "logprobs";

// What is no UTF-8 can't stand in JSON as a text.
Json text_or_bytes(const std::string& bytes) {
  if (is_valid_utf8(bytes)) return bytes;
  Json list = Json::array();
  for (const char byte : bytes) list.push_back(static_cast<std::uint8_t>(byte));
  return list;
}

Result<std::string> bytes_from(const Json& json) {
  if (json.is_string()) return json.get<std::string>();
  const Failure neither = caller_error(std::string(kWhat) + ": a token is neither a text nor a list of bytes.");
  if (!json.is_array()) return neither;
  std::string bytes;
  for (const Json& byte : json) {
    if (!byte.is_number_unsigned() || byte.get<std::uint64_t>() > 255) return neither;
    bytes.push_back(static_cast<char>(byte.get<std::uint8_t>()));
  }
  return bytes;
}

}  // namespace

Json to_json(const ToldToken& token) {
  Json json = {{"token", text_or_bytes(token.bytes)}, {"logprob", token.logprob}};
  for (const auto& [bytes, logprob] : token.likeliest) json["top"].push_back({text_or_bytes(bytes), logprob});
  return json;
}

Result<std::vector<ToldToken>> told_tokens(const Completion& completion) {
  std::vector<ToldToken> tokens;
  if (completion.logprobs.empty()) return tokens;
  RETORT_ASSIGN(const Json json, parse_json(completion.logprobs, kWhat));
  if (!json.is_array()) return caller_error(std::string(kWhat) + ": not an array.");
  for (const Json& entry : json) {
    ToldToken token;
    RETORT_ASSIGN(const Json text, member<Json>(entry, "token", kWhat));
    RETORT_ASSIGN(token.bytes, bytes_from(text));
    RETORT_ASSIGN(token.logprob, member<double>(entry, "logprob", kWhat));
    for (const Json& other : entry.value("top", Json::array())) {
      if (!other.is_array() || other.size() != 2 || !other[1].is_number()) {
        return caller_error(std::string(kWhat) + ": a likeliest token isn't a pair of text and number.");
      }
      RETORT_ASSIGN(std::string bytes, bytes_from(other[0]));
      token.likeliest.emplace_back(std::move(bytes), other[1].get<double>());
    }
    tokens.push_back(std::move(token));
  }
  return tokens;
}

}  // namespace retort
