#include "train/rank_messages.h"

#include <cstdint>
#include <utility>

namespace retort::train {

std::string message_bytes(const Json& message) {
  const std::vector<std::uint8_t> bytes = Json::to_cbor(message);
  return {bytes.begin(), bytes.end()};
}

Json message_from(const std::string& bytes) {
  Json message = Json::from_cbor(bytes, true, false);
  RETORT_CHECK(!message.is_discarded());  // our own words
  return message;
}

Json message_of(std::span<const dataset::Example> examples) {
  Json all = Json::array();
  for (const dataset::Example& example : examples) {
    all.push_back({packed(example.ids), packed(example.supervised), example.exchange_id.hex()});
  }
  return all;
}

Result<std::vector<dataset::Example>> examples_from(const Json& json) {
  std::vector<dataset::Example> all;
  for (const Json& item : json) {
    dataset::Example example;
    example.ids = unpacked<TokenId>(item[0]);
    example.supervised = unpacked<std::uint8_t>(item[1]);
    RETORT_ASSIGN(example.exchange_id, Digest::from_hex(item[2].get<std::string>()));
    all.push_back(std::move(example));
  }
  return all;
}

Json message_of(std::span<const TokenRequest> requests) {
  Json all = Json::array();
  for (const TokenRequest& request : requests) {
    const SamplingOptions& s = request.sampling;
    all.push_back({packed(request.prompt_ids), packed(request.end_ids), s.temperature, s.top_p, s.top_k, s.min_p,
                   s.max_tokens, s.seed});
  }
  return all;
}

std::vector<TokenRequest> requests_from(const Json& json) {
  std::vector<TokenRequest> all;
  for (const Json& item : json) {
    TokenRequest request;
    request.prompt_ids = unpacked<TokenId>(item[0]);
    request.end_ids = unpacked<TokenId>(item[1]);
    SamplingOptions& s = request.sampling;
    s.temperature = item[2].get<double>();
    s.top_p = item[3].get<double>();
    s.top_k = item[4].get<std::int32_t>();
    s.min_p = item[5].get<double>();
    s.max_tokens = item[6].get<std::int32_t>();
    s.seed = item[7].get<std::uint64_t>();
    all.push_back(std::move(request));
  }
  return all;
}

}  // namespace retort::train
