#include "provider/batch_api.h"

#include <charconv>
#include <utility>

namespace retort::provider {

const BatchApi& batch_api_of(const Dialect& dialect) {
  return dialect.name() == anthropic_messages().name() ? anthropic_batches() : openai_batches();
}

net::HttpCall authorised(net::HttpCall call, const Dialect& dialect, const std::string& url, const std::string& key) {
  const bool typed = call.headers.find("Content-Type").has_value();
  const net::Headers given = dialect.headers(key);
  for (const net::Headers::Field& field : given.fields()) {
    if (field.name == "Content-Type" && (typed || call.body.empty())) continue;
    call.headers.add(field.name, field.value);
  }
  call.url = url + call.url;
  return call;
}

std::string batch_request_id(const std::string& name, std::int64_t slot) { return name + "-" + std::to_string(slot); }

std::int64_t slot_of_batch_request(const std::string& name, std::string_view id) {
  if (!id.starts_with(name + "-")) return -1;
  const std::string_view number = id.substr(name.size() + 1);
  std::int64_t slot = -1;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), slot);
  if (error != std::errc() || end != number.data() + number.size() || slot < 0) return -1;
  return slot;
}

}  // namespace retort::provider
