#include "origin/forwarded.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/random.h"

namespace retort::origin {
namespace {

const NetworkSet& hops() {
  static const NetworkSet kHops({*IpNetwork::parse("10.0.0.0/8"), *IpNetwork::parse("2001:db8:1::/48")});
  return kHops;
}

// "address hops", with "?" behind it where the walk ended at what can't be read.
std::string walk(std::string_view peer, const std::vector<std::string_view>& fields, HopHeader header) {
  const ClientAddress client = client_address(*IpAddress::parse(peer), fields, header, hops());
  return client.address.text() + " " + std::to_string(client.hops) + (client.unreadable ? "?" : "");
}
std::string x_forwarded_for(std::string_view peer, const std::vector<std::string_view>& fields) {
  return walk(peer, fields, HopHeader::kXForwardedFor);
}
std::string forwarded(std::string_view peer, const std::vector<std::string_view>& fields) {
  return walk(peer, fields, HopHeader::kForwarded);
}

TEST(ClientAddress, IsThePeersUnlessTheHopIsTrusted) {
  EXPECT_EQ(x_forwarded_for("192.0.2.9", {"198.51.100.1"}), "192.0.2.9 0");
  EXPECT_EQ(x_forwarded_for("10.0.0.1", {}), "10.0.0.1 0");
  EXPECT_EQ(x_forwarded_for("10.0.0.1", {"198.51.100.1"}), "198.51.100.1 1");
  EXPECT_EQ(x_forwarded_for("::ffff:10.0.0.1", {"198.51.100.1"}), "198.51.100.1 1");
}

TEST(ClientAddress, WalksFromTheRightAndStopsAtTheFirstStranger) {
  EXPECT_EQ(x_forwarded_for("10.0.0.1", {"6.6.6.6, 198.51.100.1, 10.0.0.2"}), "198.51.100.1 2");
  EXPECT_EQ(x_forwarded_for("10.0.0.1", {"6.6.6.6", "198.51.100.1,10.0.0.2"}), "198.51.100.1 2");
  EXPECT_EQ(x_forwarded_for("10.0.0.1", {"10.0.0.3, 10.0.0.2"}), "10.0.0.3 2");
  EXPECT_EQ(x_forwarded_for("10.0.0.1", {"198.51.100.1:4711"}), "198.51.100.1 1");
  EXPECT_EQ(x_forwarded_for("10.0.0.1", {"[2001:db8::9]:4711 "}), "2001:db8::9 1");
  EXPECT_EQ(x_forwarded_for("10.0.0.1", {"2001:db8::9"}), "2001:db8::9 1");
}

TEST(ClientAddress, GarbageEndsTheWalk) {
  for (const char* field : {"", " ", "unknown", "_hidden", "1.2.3", "1.2.3.4;", "1.2.3.4,", "[::1", "[1.2.3.4]",
                            "::1%eth0", "[::1]x", "999.1.1.1", "198.51.100.1 10.0.0.2"}) {
    EXPECT_EQ(x_forwarded_for("10.0.0.1", {field}), "10.0.0.1 0?") << field;
  }
  // What a client writes on the left does not reach what the hop wrote on the right.
  EXPECT_EQ(x_forwarded_for("10.0.0.1", {"%00\"',;, 198.51.100.1"}), "198.51.100.1 1");
  EXPECT_EQ(x_forwarded_for("10.0.0.1", {"garbage, 10.0.0.2"}), "10.0.0.2 1?");
  std::string long_chain = "10.0.0.2";
  for (int i = 0; i < 100; ++i) long_chain += ", 10.0.0.2";
  EXPECT_EQ(x_forwarded_for("10.0.0.1", {long_chain}), "10.0.0.2 32?");
}

TEST(ClientAddress, ReadsTheStandardHeader) {
  EXPECT_EQ(forwarded("10.0.0.1", {"for=198.51.100.1"}), "198.51.100.1 1");
  EXPECT_EQ(forwarded("10.0.0.1", {"For=\"[2001:db8:cafe::17]:4711\""}), "2001:db8:cafe::17 1");
  EXPECT_EQ(forwarded("10.0.0.1", {"for=198.51.100.1;proto=http;by=203.0.113.43"}), "198.51.100.1 1");
  EXPECT_EQ(forwarded("10.0.0.1", {"for=6.6.6.6, for=198.51.100.1 ; proto=https,for=10.0.0.2"}), "198.51.100.1 2");
  EXPECT_EQ(forwarded("10.0.0.1", {"for=6.6.6.6", "proto=https;for=\"198.51.100.1:80\""}), "198.51.100.1 1");
  EXPECT_EQ(forwarded("10.0.0.1", {"for=[2001:db8::9]:80"}), "2001:db8::9 1");
  EXPECT_EQ(forwarded("10.0.0.1", {"host=\"a,b;for=6.6.6.6\";for=198.51.100.1"}), "198.51.100.1 1");
  EXPECT_EQ(forwarded("10.0.0.1", {"for=\"198\\.51.100.1\""}), "198.51.100.1 1");
}

TEST(ClientAddress, AStandardHeaderThatBreaksTheGrammarSaysNothing) {
  for (const char* field : {"", "for", "for=", "=1.2.3.4", "for=\"1.2.3.4", "for=1.2.3.4 x", "for=1.2.3.4;for=5.6.7.8",
                            "proto=http", "for=unknown", "for=_obf", "for=1.2.3.4,", "for=\"\\", "for =1.2.3.4"}) {
    EXPECT_EQ(forwarded("10.0.0.1", {field}), "10.0.0.1 0?") << field;
  }
  // A quotation mark that the client leaves open must not swallow what the hop wrote and leave the client's choice.
  EXPECT_EQ(forwarded("10.0.0.1", {"for=6.6.6.6;x=\", for=198.51.100.1"}), "10.0.0.1 0?");
  EXPECT_EQ(forwarded("10.0.0.1", {"for=6.6.6.6;x=\", for=\"[2001:db8::1]\""}), "10.0.0.1 0?");
  // In a field line of its own it can't.
  EXPECT_EQ(forwarded("10.0.0.1", {"for=6.6.6.6;x=\"", "for=198.51.100.1"}), "198.51.100.1 1");
}

// Whatever the client puts on the left, the answer is what the trusted hop appended, or the hop itself.
TEST(ClientAddress, IsNeverTheClientsChoice) {
  Random random(7239);
  constexpr std::string_view kPieces[] = {"for=", "6.6.6.6", "\"", "\\", ",", ";",      " ",
                                          "[",    "]",       ":",  "=",  "x", "unknown"};
  for (int round = 0; round < 20'000; ++round) {
    std::string field;
    for (std::uint64_t i = random.below(12); i > 0; --i) field += kPieces[random.below(std::size(kPieces))];
    const std::string standard = field + ", for=\"[2001:db8::9]:80\"";
    const std::string got = forwarded("10.0.0.1", {standard});
    ASSERT_TRUE(got == "2001:db8::9 1" || got == "10.0.0.1 0?") << standard << " -> " << got;
    ASSERT_EQ(x_forwarded_for("10.0.0.1", {field + ", 198.51.100.1"}), "198.51.100.1 1") << field;
  }
}

}  // namespace
}  // namespace retort::origin
