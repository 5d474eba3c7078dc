// The keys that reasoning is sealed with: a file that several guards share.
//
// {"keys":[{"id":"2026-11","created":"2026-11-26T14:00:00Z","secret":"<32 bytes as base64>"}]}, mode 0600. The key
// created last seals, every key opens: so a rotation adds a key everywhere first (add()), and a key is removed only
// when the last blob sealed under it has expired. Where two were created at the same time, the later in the file seals.
//
// Values; any thread. Secrets are wiped when a ring goes, and no error quotes them.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/cryptography.h"
#include "base/error.h"

namespace retort::sealing {

class KeyRing {
 public:
  // First bytes of a digest of the secret: what a sealed blob names its key by.
  using Fingerprint = std::array<std::uint8_t, 8>;
  struct Key {
    std::string id;       // for people
    std::string created;  // RFC 3339 in UTC
    SecretKey secret{};
    Fingerprint fingerprint{};
  };

  // Error (kCaller): no such file, others may read it, or it isn't a ring with at least one key of distinct ids.
  static Result<KeyRing> read(const std::filesystem::path& path);
  // The file's text; `what` names it in errors.
  static Result<KeyRing> parse(std::string_view text, const std::string& what);
  // Adds a key made at random and writes the file anew (made when absent); it seals from then on in every guard that
  // reads the file again. Error (kCaller): the id is there already, or not made of letters, digits, '-', '_' and '.'.
  static Result<KeyRing> add(const std::filesystem::path& path, std::string_view id, std::int64_t unix_ms);

  KeyRing(const KeyRing&) = default;
  KeyRing& operator=(const KeyRing&) = default;
  ~KeyRing();

  const Key& sealing_key() const { return keys_[newest_]; }
  // Null: this ring has no such key.
  const Key* find(const Fingerprint& fingerprint) const;
  const std::vector<Key>& keys() const { return keys_; }

 private:
  KeyRing() = default;
  std::vector<Key> keys_;
  std::size_t newest_ = 0;
};

}  // namespace retort::sealing
