// SHA-256 digests: the identity of everything that is stored.
//
// A Digest is a plain value, ordered and hashable; its text form is 64 lower-case hexadecimal digits.
// Sha256 is a running digest; one thread at a time.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace retort {

struct Digest {
  std::array<std::uint8_t, 32> bytes{};

  auto operator<=>(const Digest&) const = default;
  std::string hex() const;
  // The first 12 hexadecimal digits, for people.
  std::string short_hex() const;
  // Error: not 64 hexadecimal digits.
  static Result<Digest> from_hex(std::string_view text);
};

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  Sha256& update(std::span<const std::byte> bytes);
  Sha256& update(std::string_view text);
  // The digest of everything so far. May be called once.
  Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Digest sha256(std::string_view bytes);
Digest sha256(std::span<const std::byte> bytes);
// Reads the file in pieces. Error: kWorld when it can't be read, kCaller when it doesn't exist.
Result<Digest> sha256_file(const std::filesystem::path& path);

// 64-bit checksum (XXH3) for blocks of our own formats: finds damage, proves nothing against an adversary.
std::uint64_t checksum64(std::span<const std::byte> bytes);

}  // namespace retort

template <>
struct std::hash<retort::Digest> {
  std::size_t operator()(const retort::Digest& digest) const noexcept {
    std::size_t value = 0;
    for (std::size_t i = 0; i < sizeof(value); ++i) value = (value << 8U) | digest.bytes[i];
    return value;
  }
};
