// What ranks tell one another besides tensors, as bytes. They run one program on machines of one kind, so nothing here
// outlives a training or is read by another version.
//
// Pure; any thread.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "dataset/example.h"
#include "exchange/engine.h"

namespace retort::train {

// Numbers as they lie in memory.
template <class T>
Json packed(const std::vector<T>& values) {
  std::vector<std::uint8_t> bytes(values.size() * sizeof(T));
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return Json::binary(std::move(bytes));
}
template <class T>
std::vector<T> unpacked(const Json& json) {
  const auto& bytes = json.get_binary();
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
  return values;
}

std::string message_bytes(const Json& message);
Json message_from(const std::string& bytes);

Json message_of(std::span<const dataset::Example> examples);
Result<std::vector<dataset::Example>> examples_from(const Json& json);

// Without their tags.
Json message_of(std::span<const TokenRequest> requests);
std::vector<TokenRequest> requests_from(const Json& json);

}  // namespace retort::train
