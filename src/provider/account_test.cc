#include "provider/account.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace retort::provider {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Result<std::vector<Endpoint>> open(std::vector<EndpointPlace> places, const std::string& organisation = "") {
  const Environment environment = [](const std::string& name) -> std::optional<std::string> {
    static const std::map<std::string, std::string> set = {{"A", "sk-a"}, {"B", "sk-b"}, {"EMPTY", " "}};
    const auto found = set.find(name);
    return found == set.end() ? std::nullopt : std::optional(found->second);
  };
  return open_endpoints(places, organisation, environment);
}

TEST(AccountTest, OneHostedProviderHasOneAccount) {
  const std::vector<EndpointPlace> two = {{.url = "https://api.openai.com/v1", .key_env = "A"},
                                          {.url = "https://eu.api.openai.com/v1", .key_env = "B"}};
  const auto refused = open(two);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().fault, Fault::kCaller);
  EXPECT_THAT(refused.error().message, HasSubstr("teacher.organisation"));
  EXPECT_TRUE(open(two, "Acme GmbH"));
  EXPECT_TRUE(open({two[0], {.url = "https://eu.api.openai.com/v1", .key_env = "A"}})) << "the same account";
  EXPECT_TRUE(open({two[0], {.url = "https://api.mistral.ai/v1", .key_env = "B"}})) << "another provider";
  EXPECT_FALSE(open({{.url = "https://models.example.com/v1", .key_env = "A"},
                     {.url = "https://models.example.com/v1", .key_env = "B"}}))
      << "a host of the world is hosted, known or not";
}

TEST(AccountTest, OwnServersAreOnePool) {
  EXPECT_TRUE(open({{.url = "http://127.0.0.1:8000/v1", .key_env = "A"},
                    {.url = "http://10.1.2.3:8000/v1", .key_env = "B"},
                    {.url = "http://gpu7.internal:8000/v1"}}));
  for (const char* own :
       {"localhost", "127.0.0.1", "192.168.1.5", "172.20.0.1", "gpu3", "node.svc", "::1", "fd00::1"}) {
    EXPECT_TRUE(is_own_host(own)) << own;
  }
  for (const char* other : {"api.openai.com", "8.8.8.8", "172.32.0.1", "example.com", "2001:db8::1", "notlocal.xyz"}) {
    EXPECT_FALSE(is_own_host(other)) << other;
  }
}

TEST(AccountTest, KeysComeFromWhereTheyBelong) {
  const auto endpoints = open({{.url = "https://api.openai.com/v1/", .key_env = "A"}});
  ASSERT_TRUE(endpoints);
  EXPECT_EQ(endpoints->front().key, "sk-a");
  EXPECT_EQ(endpoints->front().url, "https://api.openai.com/v1");
  EXPECT_THAT(open({{.url = "https://api.openai.com/v1", .key_env = "NOT_SET"}}).error().message, HasSubstr("NOT_SET"));
  EXPECT_FALSE(open({{.url = "https://api.openai.com/v1", .key_env = "EMPTY"}}));
  EXPECT_FALSE(open({{.url = "https://api.openai.com/v1", .key_file = "/nowhere/key"}}));
  const auto open_to_all = open({{.url = "http://api.openai.com/v1", .key_env = "A"}});
  ASSERT_FALSE(open_to_all);
  EXPECT_THAT(open_to_all.error().message, HasSubstr("https"));
}

TEST(AccountTest, ABadUrlIsToldWithoutItsPassword) {
  for (const char* url : {"", "api.openai.com", "ftp://a/b", "http://", "http://a/v1?key=1", "http://a b/v1"}) {
    EXPECT_FALSE(parse_url(url)) << url;
  }
  const auto secret = parse_url("https://user:password@host/v1");
  ASSERT_FALSE(secret);
  EXPECT_THAT(secret.error().message, Not(HasSubstr("password@")));
  EXPECT_EQ(parse_url("HTTPS://Api.Host.com:8443/v1//")->host, "api.host.com");
  EXPECT_EQ(parse_url("http://[::1]:80/v1")->host, "::1");
}

}  // namespace
}  // namespace retort::provider
