// Any bytes as a forwarding header: the client's part never decides, and an address reads back as it is written.
#include "fuzz/fuzz.h"
#include "origin/forwarded.h"

namespace origin = retort::origin;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  if (const auto address = origin::IpAddress::parse(text)) {
    RETORT_CHECK(origin::IpAddress::parse(address->text()) == address);
  }
  if (const auto network = origin::IpNetwork::parse(text)) RETORT_CHECK(network->contains(network->base));

  static const origin::NetworkSet hops({*origin::IpNetwork::parse("10.0.0.0/8")});
  const origin::IpAddress peer = *origin::IpAddress::parse("10.0.0.1");
  const origin::IpAddress stranger = *origin::IpAddress::parse("198.51.100.1");
  for (const auto header : {origin::HopHeader::kXForwardedFor, origin::HopHeader::kForwarded}) {
    const bool standard = header == origin::HopHeader::kForwarded;
    const std::string appended = std::string(text) + (standard ? ", for=198.51.100.1" : ", 198.51.100.1");
    const std::string_view one_field[] = {appended};
    const auto client = origin::client_address(peer, one_field, header, hops);
    RETORT_CHECK(client.address == stranger || (standard && client.address == peer && client.unreadable));
    // Nobody's word counts when the peer isn't trusted.
    const std::string_view alone[] = {text};
    RETORT_CHECK(origin::client_address(stranger, alone, header, hops).address == stranger);
    origin::client_address(peer, alone, header, hops);
  }
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  return {"6.6.6.6, 10.0.0.2",
          "[2001:db8::1]:80, 10.0.0.2:80",
          "for=6.6.6.6;proto=https;by=\"_x\", for=\"[2001:db8::1]:80\"",
          "for=\"a\\\"b\";host=\"x,y\"",
          "2001:db8::/32",
          "::ffff:192.0.2.1"};
}
