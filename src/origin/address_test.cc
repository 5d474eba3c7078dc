#include "origin/address.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "origin/network_set.h"

namespace retort::origin {
namespace {

IpAddress address(std::string_view text) {
  const auto parsed = IpAddress::parse(text);
  EXPECT_TRUE(parsed.has_value()) << text;
  return parsed.value_or(IpAddress{});
}
IpNetwork network(std::string_view text) { return *IpNetwork::parse(text); }

TEST(IpAddress, ReadsAndWritesBothFamilies) {
  for (const char* text : {"0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "::1", "2001:db8::1", "fe80::1"}) {
    EXPECT_EQ(address(text).text(), text);
  }
  EXPECT_EQ(address("2001:0DB8:0:0::1").text(), "2001:db8::1");
  EXPECT_EQ(address("::ffff:192.0.2.1"), address("192.0.2.1"));
  EXPECT_EQ(address("::ffff:c000:201").text(), "192.0.2.1");
  EXPECT_TRUE(address("1.2.3.4").is_v4());
  EXPECT_FALSE(address("::1.2.3.4").is_v4());
}

TEST(IpAddress, RefusesWhatIsNone) {
  for (const char* text : {"",
                           "1",
                           "1.2.3",
                           "1.2.3.4.5",
                           "1.2.3.256",
                           "01.2.3.4",
                           "1.2.3.04",
                           "0x1.2.3.4",
                           "1.2.3.4 ",
                           " 1.2.3.4",
                           "1.2.3.",
                           ".1.2.3",
                           "1..2.3",
                           "+1.2.3.4",
                           "-1.2.3.4",
                           "1.2.3.4:80",
                           "[::1]",
                           "::1%eth0",
                           ":::",
                           "1:2:3:4:5:6:7:8:9",
                           "::ffff:1.2.3.256",
                           "12345::",
                           "g::",
                           "unknown",
                           "_hidden"}) {
    EXPECT_FALSE(IpAddress::parse(text).has_value()) << text;
  }
  EXPECT_FALSE(IpAddress::parse(std::string_view("::1\0", 4)).has_value());
  EXPECT_FALSE(IpAddress::parse(std::string(10'000, ':')).has_value());
}

TEST(IpAddress, KnowsWhatIsNobodysOnTheInternet) {
  for (const char* text :
       {"10.1.2.3", "127.0.0.1", "169.254.0.1", "172.31.0.1", "192.168.1.1", "100.64.0.1", "224.0.0.1",
        "255.255.255.255", "0.0.0.0", "::", "::1", "fe80::1", "fd00::1", "ff02::1", "2001:db8::1", "::ffff:10.0.0.1"}) {
    EXPECT_FALSE(address(text).is_public()) << text;
  }
  for (const char* text : {"8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:4860::8888"}) {
    EXPECT_TRUE(address(text).is_public()) << text;
  }
}

TEST(IpNetwork, ReadsItsForms) {
  EXPECT_EQ(network("192.0.2.0/24").last(), address("192.0.2.255"));
  EXPECT_EQ(network("2001:db8::/32").last(), address("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"));
  EXPECT_EQ(network("::/0").last(), address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
  EXPECT_EQ(network("2001:db8::/64").last(), address("2001:db8::ffff:ffff:ffff:ffff"));
  EXPECT_EQ(network("1.2.3.4"), network("1.2.3.4/32"));
  EXPECT_EQ(network("::ffff:1.2.3.0/120"), network("1.2.3.0/24"));
  EXPECT_EQ(network("0.0.0.0/0").last(), address("255.255.255.255"));
  for (const char* text : {"", "/", "1.2.3.0/", "1.2.3.0/33", "1.2.3.0/-1", "1.2.3.0/024x", "1.2.3.0/2 4", "::/129",
                           "x/8", "1.2.3.4/24", "2001:db8::1/32"}) {
    EXPECT_FALSE(IpNetwork::parse(text).has_value()) << text;
  }
  EXPECT_EQ(*IpNetwork::parse("1.2.3.4/24", IpNetwork::HostBits::kMask), network("1.2.3.0/24"));
}

TEST(NetworkSet, MergesWhatTouches) {
  const NetworkSet set({network("10.0.1.0/24"), network("10.0.0.0/24"), network("10.0.0.128/25"),
                        network("10.0.3.0/24"), network("255.255.255.255"), network("2001:db8::/32"),
                        network("ffff::/16")});
  EXPECT_EQ(set.ranges(), 5U);
  for (const char* in : {"10.0.0.0", "10.0.1.255", "10.0.3.1", "255.255.255.255", "2001:db8::", "2001:db8:ffff::1",
                         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::ffff:10.0.0.1"}) {
    EXPECT_TRUE(set.contains(address(in))) << in;
  }
  for (const char* out :
       {"9.255.255.255", "10.0.2.0", "10.0.4.0", "255.255.255.254", "0.0.0.0", "2001:db7:ffff::", "2001:db9::", "::"}) {
    EXPECT_FALSE(set.contains(address(out))) << out;
  }
  EXPECT_FALSE(NetworkSet().contains(address("1.2.3.4")));
  EXPECT_TRUE(NetworkSet({network("::/0")}).contains(address("1.2.3.4")));
  EXPECT_TRUE(NetworkSet({network("0.0.0.0/0")}).contains(address("1.2.3.4")));
  EXPECT_FALSE(NetworkSet({network("0.0.0.0/0")}).contains(address("::1")));
}

TEST(NetworkSet, AgreesWithAskingEveryNetwork) {
  Random random(6);
  for (int round = 0; round < 200; ++round) {
    std::vector<IpNetwork> networks;
    for (std::uint64_t i = random.below(20); i > 0; --i) {
      // Few bits in play, so that networks meet, nest and repeat.
      const auto bits = static_cast<std::uint32_t>(random.below(256)) << 24U;
      const auto prefix = static_cast<int>(random.below(9));
      const std::string text = IpAddress::v4(bits).text() + "/" + std::to_string(prefix);
      networks.push_back(*IpNetwork::parse(text, IpNetwork::HostBits::kMask));
      const std::string wide = IpAddress{random.below(16) << 60U, 0}.text() + "/" + std::to_string(random.below(5));
      networks.push_back(*IpNetwork::parse(wide, IpNetwork::HostBits::kMask));
    }
    const NetworkSet set(networks);
    for (int i = 0; i < 100; ++i) {
      const IpAddress one = random.below(2) == 0 ? IpAddress::v4(static_cast<std::uint32_t>(random.next()))
                                                 : IpAddress{random.next(), random.next()};
      const bool in =
          std::any_of(networks.begin(), networks.end(), [&](const auto& each) { return each.contains(one); });
      ASSERT_EQ(set.contains(one), in) << one.text() << " round " << round;
    }
  }
}

}  // namespace
}  // namespace retort::origin
