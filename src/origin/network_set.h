// A set of networks, fast to ask: sorted, merged ranges and a binary search, IPv4 apart from IPv6.
//
// 42,000 networks take 340 kB and well under a microsecond a look-up. Immutable once made; any number of threads may
// ask.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "origin/address.h"

namespace retort::origin {

class NetworkSet {
 public:
  NetworkSet() = default;
  // In any order; overlapping ones are merged.
  explicit NetworkSet(std::vector<IpNetwork> networks);

  bool contains(const IpAddress& address) const;
  bool empty() const { return v4_.empty() && v6_.empty(); }
  // After merging.
  std::size_t ranges() const { return v4_.size() + v6_.size(); }

 private:
  template <class Number>
  struct Range {
    Number first;
    Number last;
  };
  template <class Number>
  static bool is_in(const std::vector<Range<Number>>& ranges, const Number& number);

  std::vector<Range<std::uint32_t>> v4_;
  std::vector<Range<IpAddress>> v6_;
};

}  // namespace retort::origin
