#include "origin/network_set.h"

#include <algorithm>

namespace retort::origin {

NetworkSet::NetworkSet(std::vector<IpNetwork> networks) {
  std::sort(networks.begin(), networks.end());
  std::vector<Range<IpAddress>> merged;
  for (const IpNetwork& network : networks) {
    const IpAddress last = network.last();
    if (!merged.empty()) {
      IpAddress after = merged.back().last;
      if (++after.low == 0) ++after.high;
      const bool wrapped = after == IpAddress();
      if (wrapped || network.base <= after) {
        merged.back().last = std::max(merged.back().last, last);
        continue;
      }
    }
    merged.push_back({network.base, last});
  }
  for (const Range<IpAddress>& range : merged) {
    if (range.first.is_v4() && range.last.is_v4()) {
      v4_.push_back({range.first.as_v4(), range.last.as_v4()});
    } else {
      v6_.push_back(range);
      // A range of IPv6 that takes in the mapped addresses, such as ::/0, takes in every IPv4 address it covers.
      const IpAddress first = std::max(range.first, IpAddress::v4(0));
      const IpAddress last = std::min(range.last, IpAddress::v4(0xFFFF'FFFF));
      if (first <= last) v4_.push_back({first.as_v4(), last.as_v4()});
    }
  }
}

template <class Number>
bool NetworkSet::is_in(const std::vector<Range<Number>>& ranges, const Number& number) {
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), number,
                                      [](const Number& one, const Range<Number>& range) { return one < range.first; });
  return after != ranges.begin() && number <= std::prev(after)->last;
}

bool NetworkSet::contains(const IpAddress& address) const {
  return address.is_v4() ? is_in(v4_, address.as_v4()) : is_in(v6_, address);
}

}  // namespace retort::origin
