#include "origin/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace retort::origin {
namespace {

// The bits behind the first `prefix` ones, in both halves.
IpAddress host_mask(int prefix) {
  const auto ones = [](int bits) {
    return bits <= 0 ? 0 : bits >= 64 ? ~0ULL : (1ULL << static_cast<unsigned>(bits)) - 1;
  };
  return {ones(64 - prefix), ones(128 - prefix)};
}

std::optional<std::uint32_t> parse_v4(std::string_view text) {
  std::uint32_t address = 0;
  for (int part = 0; part < 4; ++part) {
    const std::size_t end = part < 3 ? text.find('.') : text.size();
    if (end == std::string_view::npos || end == 0 || end > 3 || (end > 1 && text.front() == '0')) return std::nullopt;
    unsigned value = 0;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + end, value);
    if (error != std::errc() || stop != text.data() + end || value > 255) return std::nullopt;
    address = (address << 8U) | value;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return address;
}

IpNetwork known(std::string_view text) {
  const Result<IpNetwork> network = IpNetwork::parse(text);
  RETORT_CHECK(network.has_value());
  return *network;
}

}  // namespace

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  if (text.find(':') == std::string_view::npos) {
    const auto address = parse_v4(text);
    if (!address) return std::nullopt;
    return v4(*address);
  }
  std::array<char, INET6_ADDRSTRLEN> ended{};
  if (text.size() >= ended.size() || text.find('\0') != std::string_view::npos) return std::nullopt;
  std::copy(text.begin(), text.end(), ended.begin());
  std::array<std::uint8_t, 16> bytes{};
  if (::inet_pton(AF_INET6, ended.data(), bytes.data()) != 1) return std::nullopt;
  IpAddress address;
  for (std::size_t i = 0; i < 8; ++i) {
    address.high = (address.high << 8U) | bytes[i];
    address.low = (address.low << 8U) | bytes[i + 8];
  }
  return address;
}

std::string IpAddress::text() const {
  std::array<std::uint8_t, 16> bytes{};
  for (std::size_t i = 0; i < 8; ++i) {
    bytes[i] = static_cast<std::uint8_t>(high >> (56 - 8 * i));
    bytes[i + 8] = static_cast<std::uint8_t>(low >> (56 - 8 * i));
  }
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  const bool four = is_v4();
  return ::inet_ntop(four ? AF_INET : AF_INET6, bytes.data() + (four ? 12 : 0), buffer.data(), buffer.size());
}

bool IpAddress::is_public() const {
  static const std::array<IpNetwork, 21> kReserved = {
      known("0.0.0.0/8"),      known("10.0.0.0/8"),    known("100.64.0.0/10"),   known("127.0.0.0/8"),
      known("169.254.0.0/16"), known("172.16.0.0/12"), known("192.0.0.0/24"),    known("192.0.2.0/24"),
      known("192.168.0.0/16"), known("198.18.0.0/15"), known("198.51.100.0/24"), known("203.0.113.0/24"),
      known("224.0.0.0/3"),    known("::/128"),        known("::1/128"),         known("64:ff9b:1::/48"),
      known("100::/64"),       known("2001:db8::/32"), known("fc00::/7"),        known("fe80::/10"),
      known("ff00::/8")};
  return std::none_of(kReserved.begin(), kReserved.end(), [&](const IpNetwork& one) { return one.contains(*this); });
}

Result<IpNetwork> IpNetwork::parse(std::string_view text, HostBits host_bits) {
  const auto refuse = [&](const std::string& why) {
    return caller_error("'" + std::string(text.substr(0, 64)) + "' is no network: " + why +
                        ". Expected one such as 192.0.2.0/24 or 2001:db8::/32.");
  };
  const std::size_t slash = text.find('/');
  const auto address = IpAddress::parse(text.substr(0, slash));
  if (!address) return refuse("it does not begin with an IP address");
  // What was written decides, so that ::ffff:192.0.2.0/120 and 192.0.2.0/24 are both read as meant.
  const int bits = text.find(':') == std::string_view::npos ? 32 : 128;
  int prefix = bits;
  if (slash != std::string_view::npos) {
    const std::string_view length = text.substr(slash + 1);
    const auto [end, error] = std::from_chars(length.data(), length.data() + length.size(), prefix);
    if (error != std::errc() || end != length.data() + length.size() || prefix < 0 || prefix > bits ||
        length.front() == '-') {
      return refuse("its length is not a number from 0 to " + std::to_string(bits));
    }
  }
  IpNetwork network{*address, prefix + 128 - bits};
  const IpAddress mask = host_mask(network.prefix);
  const IpAddress base{address->high & ~mask.high, address->low & ~mask.low};
  if (base != *address && host_bits == HostBits::kRefuse) {
    return refuse("the address has bits behind the prefix; its network is " + base.text() + "/" +
                  std::to_string(prefix));
  }
  network.base = base;
  return network;
}

IpAddress IpNetwork::last() const {
  const IpAddress mask = host_mask(prefix);
  return {base.high | mask.high, base.low | mask.low};
}

}  // namespace retort::origin
