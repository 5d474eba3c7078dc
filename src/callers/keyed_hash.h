// Keyed hashes: what is kept of a secret, and of a person's traits, instead of the thing itself.
//
// An HmacKey is 32 random bytes in a file of their own (mode 0600), kept apart from the database: who has one of the
// two learns nothing. A hash can be compared, and not guessed without the key. Any thread may hash with one key.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "base/error.h"

namespace retort::callers {

class HmacKey {
 public:
  // Reads the key, or makes it at first use; two processes that both make it get the same one. Error: the file isn't 64
  // hexadecimal digits, or others than its owner may read it.
  static Result<HmacKey> open_or_make(const std::filesystem::path& path);
  static HmacKey from_bytes(std::span<const std::uint8_t> bytes);

  ~HmacKey();
  HmacKey(HmacKey&&) noexcept;
  HmacKey& operator=(HmacKey&&) noexcept;

  // HMAC-SHA256 (RFC 2104) of `text`.
  Digest hash(std::string_view text) const;

 private:
  struct State;
  explicit HmacKey(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace retort::callers
