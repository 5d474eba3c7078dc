// Writes small .mmdb files for tests: MaxMind DB format 2.0, an IPv6 tree with records of 24 bits, IPv4 under ::/96.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "origin/address.h"

namespace retort::origin {

// Data of the format: only what the tests need.
inline std::string mmdb_control(int type, std::size_t size) {
  RETORT_CHECK(size < 29 + 256);
  std::string bytes;
  const auto low = static_cast<unsigned>(size < 29 ? size : 29);
  bytes += static_cast<char>(type <= 7 ? (static_cast<unsigned>(type) << 5U) | low : low);
  if (type > 7) bytes += static_cast<char>(type - 7);
  if (size >= 29) bytes += static_cast<char>(size - 29);
  return bytes;
}
inline std::string mmdb_text(std::string_view text) { return mmdb_control(2, text.size()) + std::string(text); }
inline std::string mmdb_number(int type, std::uint64_t value, int bytes) {
  std::string text = mmdb_control(type, static_cast<std::size_t>(bytes));
  for (int i = bytes - 1; i >= 0; --i) text += static_cast<char>(value >> static_cast<unsigned>(8 * i));
  return text;
}
inline std::string mmdb_uint32(std::uint32_t value) { return mmdb_number(6, value, 4); }
inline std::string mmdb_true() { return mmdb_control(14, 1); }
inline std::string mmdb_map(const std::map<std::string, std::string>& members) {
  std::string bytes = mmdb_control(7, members.size());
  for (const auto& [key, value] : members) bytes += mmdb_text(key) + value;
  return bytes;
}

// Network -> its encoded record.
inline std::string mmdb_bytes(const std::string& type, const std::vector<std::pair<std::string, std::string>>& records,
                              std::int64_t built_unix_s = 1'700'000'000) {
  constexpr std::int64_t kNothing = -1;
  // A node's sides: >= 0: another node; -1: nothing; below: the record -2 - side.
  std::vector<std::array<std::int64_t, 2>> nodes = {{kNothing, kNothing}};
  std::string data;
  std::vector<std::size_t> offsets;
  for (const auto& [written, record] : records) {
    const Result<IpNetwork> network = IpNetwork::parse(written);
    RETORT_CHECK(network.has_value());
    IpAddress base = network->base;
    if (base.is_v4()) base = {0, base.as_v4()};
    std::size_t node = 0;
    for (int bit = 0; bit < network->prefix; ++bit) {
      const std::uint64_t half = bit < 64 ? base.high : base.low;
      const auto side = static_cast<std::size_t>((half >> static_cast<unsigned>(63 - bit % 64)) & 1U);
      if (bit + 1 == network->prefix) {
        nodes[node][side] = -2 - static_cast<std::int64_t>(offsets.size());
      } else {
        if (nodes[node][side] == kNothing) {
          nodes[node][side] = static_cast<std::int64_t>(nodes.size());
          nodes.push_back({kNothing, kNothing});
        }
        node = static_cast<std::size_t>(nodes[node][side]);
      }
    }
    offsets.push_back(data.size());
    data += record;
  }
  std::string bytes;
  for (const auto& sides : nodes) {
    for (const std::int64_t side : sides) {
      std::uint64_t value = nodes.size();
      if (side >= 0) value = static_cast<std::uint64_t>(side);
      if (side <= -2) value = nodes.size() + 16 + offsets[static_cast<std::size_t>(-2 - side)];
      for (const unsigned shift : {16U, 8U, 0U}) bytes += static_cast<char>(value >> shift);
    }
  }
  bytes += std::string(16, '\0') + data + "\xAB\xCD\xEF" + "MaxMind.com";
  return bytes + mmdb_map({{"binary_format_major_version", mmdb_number(5, 2, 2)},
                           {"binary_format_minor_version", mmdb_number(5, 0, 2)},
                           {"build_epoch", mmdb_number(9, static_cast<std::uint64_t>(built_unix_s), 8)},
                           {"database_type", mmdb_text(type)},
                           {"description", mmdb_map({})},
                           {"ip_version", mmdb_number(5, 6, 2)},
                           {"languages", mmdb_control(11, 0)},
                           {"node_count", mmdb_uint32(static_cast<std::uint32_t>(nodes.size()))},
                           {"record_size", mmdb_number(5, 24, 2)}});
}

inline std::string mmdb_country(const std::string& code) {
  return mmdb_map({{"country", mmdb_map({{"iso_code", mmdb_text(code)}})}});
}
inline std::string mmdb_asn(std::uint32_t asn, const std::string& organisation) {
  return mmdb_map(
      {{"autonomous_system_number", mmdb_uint32(asn)}, {"autonomous_system_organization", mmdb_text(organisation)}});
}

}  // namespace retort::origin
