#include "tokens/fingerprint.h"

#include <cstdint>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

namespace retort::tokens {
namespace {

constexpr const char* kKeys[] = {"model",
                                 "pre",
                                 "tokens",
                                 "token_type",
                                 "scores",
                                 "merges",
                                 "bos_token_id",
                                 "eos_token_id",
                                 "eot_token_id",
                                 "eom_token_id",
                                 "add_bos_token",
                                 "add_eos_token",
                                 "add_space_prefix",
                                 "unknown_token_id",
                                 "seperator_token_id",
                                 "padding_token_id",
                                 "remove_extra_whitespaces",
                                 "precompiled_charsmap"};

void add(Sha256& digest, std::uint64_t number) {
  digest.update(std::string_view(reinterpret_cast<const char*>(&number), sizeof(number)));
}

template <class T>
void add_value(Sha256& digest, const T& value) {
  if constexpr (std::is_same_v<T, std::string>) {
    add(digest, value.size());
    digest.update(std::string_view(value));
  } else if constexpr (std::is_floating_point_v<T>) {
    digest.update(std::string_view(reinterpret_cast<const char*>(&value), sizeof(value)));
  } else {
    add(digest, static_cast<std::uint64_t>(value));
  }
}

}  // namespace

Digest vocabulary_fingerprint(const gguf::Metadata& metadata) {
  Sha256 digest;
  digest.update("retort vocabulary 1");
  for (const char* name : kKeys) {
    const gguf::Value* value = metadata.find_value(std::string("tokenizer.ggml.") + name);
    if (value == nullptr) continue;
    digest.update(std::string_view(name));
    std::visit(
        [&](const auto& held) {
          using T = std::decay_t<decltype(held)>;
          if constexpr (std::is_same_v<T, std::string> || std::is_arithmetic_v<T>) {
            add_value(digest, held);
          } else {
            add(digest, held.size());
            for (const typename T::value_type& element : held) add_value<typename T::value_type>(digest, element);
          }
        },
        *value);
  }
  return digest.finish();
}

}  // namespace retort::tokens
