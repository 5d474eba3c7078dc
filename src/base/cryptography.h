// Secret keys and what is done with them: HMAC, HKDF, AES-256-GCM, Ed25519 and base64, on OpenSSL's libcrypto.
//
// Nothing here knows what it protects. Errors never hold secret bytes or plaintext. Functions are pure but for
// random_bytes() and the key files; an Aead may be used by several threads at once, a SigningKey too.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace retort {

using SecretKey = std::array<std::uint8_t, 32>;

// From the system's generator. Error (kWorld): it fails.
Result<void> random_bytes(std::span<std::uint8_t> out);
Result<SecretKey> random_key();

SecretKey hmac_sha256(std::string_view key, std::string_view message);
inline std::string_view bytes_of(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
// HKDF (RFC 5869) with SHA-256: extract by `salt`, expand by `purpose`, 32 bytes.
SecretKey hkdf_sha256(std::string_view secret, std::string_view salt, std::string_view purpose);
// Whether both are equal, in a time that depends on their sizes alone.
bool equal_in_constant_time(std::string_view a, std::string_view b);

// Two lower-case digits a byte.
std::string hex(std::string_view bytes);
// Base64 with padding (RFC 4648, section 4).
std::string base64(std::string_view bytes);
// The URL's alphabet without padding (section 5).
std::string base64url(std::string_view bytes);
// Empty where the text isn't exactly what the encoder gives: a wrong letter, stray bits at the end, missing padding.
std::optional<std::string> from_base64(std::string_view text);
std::optional<std::string> from_base64url(std::string_view text);

// AES-256-GCM with 12-byte nonces and 16-byte tags.
class Aead {
 public:
  static constexpr std::size_t kNonceBytes = 12;
  static constexpr std::size_t kTagBytes = 16;
  using Nonce = std::array<std::uint8_t, kNonceBytes>;

  Aead();
  ~Aead();
  Aead(const Aead&) = delete;
  Aead& operator=(const Aead&) = delete;

  // Appends ciphertext and tag to `out`. A nonce must never be used twice with one key.
  void seal(const SecretKey& key, const Nonce& nonce, std::string_view associated, std::string_view plaintext,
            std::string& out) const;
  // The plaintext; empty where key, nonce, associated bytes, ciphertext or tag aren't those of seal().
  std::optional<std::string> open(const SecretKey& key, const Nonce& nonce, std::string_view associated,
                                  std::string_view ciphertext_and_tag) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

using Signature = std::array<std::uint8_t, 64>;

// An Ed25519 public key (RFC 8032).
class PublicKey {
 public:
  // PEM, "BEGIN PUBLIC KEY". Error (kCaller): no such key in the file.
  static Result<PublicKey> read(const std::filesystem::path& path);
  bool verify(std::string_view message, const Signature& signature) const;
  std::string pem() const;
  // SHA-256 of the raw key, first 16 hexadecimal digits: for people and records.
  std::string id() const;

 private:
  friend class SigningKey;
  struct State;
  explicit PublicKey(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

// An Ed25519 private key.
class SigningKey {
 public:
  // Reads the PEM file (PKCS #8); when there is none, makes a key, writes it with mode 0600 and its public half as
  // `path` + ".pub" (mode 0644). Error (kCaller): others may read the file, or it holds no Ed25519 key.
  static Result<SigningKey> read_or_make(const std::filesystem::path& path);
  Signature sign(std::string_view message) const;
  const PublicKey& public_key() const { return public_key_; }

 private:
  explicit SigningKey(PublicKey public_key) : public_key_(std::move(public_key)) {}
  PublicKey public_key_;
};

// The content of a file that only its owner may read. Error (kCaller): absent, or group or others may read it.
Result<std::string> read_secret_file(const std::filesystem::path& path);
// Writes it with mode 0600, whole or not at all.
Result<void> write_secret_file(const std::filesystem::path& path, std::string_view bytes);
// A 32-byte key, kept as one line of base64 in such a file; made at random when the file is absent.
Result<SecretKey> read_or_make_key(const std::filesystem::path& path);
// From base64 (of exactly 32 bytes). Error (kCaller), with `what` in front; never quotes the text.
Result<SecretKey> key_from_base64(std::string_view text, std::string_view what);

}  // namespace retort
