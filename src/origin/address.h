// An IP address and a network of them, of both families in one order.
//
// An IPv4 address is kept as the IPv6 address that maps it (::ffff:a.b.c.d), so that a caller seen through an IPv6
// socket and one seen through an IPv4 socket are the same. Plain values, ordered; any thread.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace retort::origin {

struct IpAddress {
  std::uint64_t high = 0;  // the first 8 bytes, most significant first
  std::uint64_t low = 0;

  auto operator<=>(const IpAddress&) const = default;

  // "192.0.2.1" (four decimal numbers, no leading zeros), "2001:db8::1", "::ffff:192.0.2.1". Nothing: anything else,
  // also zones, ports and brackets.
  static std::optional<IpAddress> parse(std::string_view text);
  static constexpr IpAddress v4(std::uint32_t address) { return {0, kMapped | address}; }

  bool is_v4() const { return high == 0 && (low >> 32U) == (kMapped >> 32U); }
  std::uint32_t as_v4() const { return static_cast<std::uint32_t>(low); }  // of is_v4()
  // Whether it can belong to somebody on the internet: not private, loopback, link-local, multicast, documentation or
  // otherwise reserved (the IANA special-purpose registries of RFC 6890, the large ones).
  bool is_public() const;
  std::string text() const;

 private:
  static constexpr std::uint64_t kMapped = 0xFFFF'0000'0000ULL;
};

struct IpNetwork {
  IpAddress base;
  int prefix = 128;  // bits of 128: an IPv4 /24 is a /120 here

  auto operator<=>(const IpNetwork&) const = default;

  enum class HostBits : std::uint8_t { kRefuse, kMask };
  // "192.0.2.0/24", "2001:db8::/32", or an address alone. Error: anything else, and bits behind the prefix unless they
  // are to be masked.
  static Result<IpNetwork> parse(std::string_view text, HostBits host_bits = HostBits::kRefuse);

  IpAddress last() const;
  bool contains(const IpAddress& address) const { return base <= address && address <= last(); }
};

}  // namespace retort::origin
