// Whose address a request comes from when proxies of ours stand before the guard.
//
// Only hops that the operator trusts are believed, and only in the one header that these write: a header that they pass
// on as the client sent it would let anybody choose their address. The walk goes from the right, from the hop nearest
// to us, and ends at the first address that isn't trusted. What can't be read ends it as well: then the answer is the
// last hop that was believed, marked so. Pure; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "origin/address.h"
#include "origin/network_set.h"

namespace retort::origin {

enum class HopHeader : std::uint8_t {
  kXForwardedFor,  // "client, proxy1, proxy2"; addresses, also in brackets and with ports
  kForwarded,      // RFC 7239: "for=192.0.2.1;proto=https, for=\"[2001:db8::1]:4711\""
};

struct ClientAddress {
  IpAddress address;
  int hops = 0;             // how many trusted hops were passed
  bool unreadable = false;  // the walk ended at something that is no address; `address` is the hop that said it
};

// `fields`: the values of that header, one a field line, in their order. More than 32 hops are taken as unreadable.
ClientAddress client_address(const IpAddress& peer, std::span<const std::string_view> fields, HopHeader header,
                             const NetworkSet& trusted_hops);

}  // namespace retort::origin
