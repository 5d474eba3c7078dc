#include "origin/network_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace retort::origin {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Outcome = NetworkOutcome;

NetworkFacts facts(std::optional<std::string> country, std::uint32_t asn = 0, std::vector<std::string> kinds = {}) {
  NetworkFacts made;
  made.country = std::move(country);
  if (asn != 0) made.asn = asn;
  made.kinds = std::move(kinds);
  return made;
}

std::string why_refused(const NetworkRules& rules) {
  const auto checked = check(rules, {"datacentre", "tor", "vpn"});
  return checked ? "" : checked.error().message;
}

TEST(NetworkRules, TheStrongestThatMatchesDecides) {
  const NetworkRules rules{
      .rules = {{.name = "office", .asns = {64500}, .outcome = Outcome::kPass},
                {.name = "tor", .kinds = {"tor"}, .outcome = Outcome::kVerify},
                {.name = "rented", .kinds = {"vpn", "datacentre"}, .outcome = Outcome::kFlag},
                {.name = "abroad", .except_countries = {"DE", "FR"}, .outcome = Outcome::kFlag},
                {.name = "both", .countries = {"US"}, .kinds = {"vpn"}, .outcome = Outcome::kRefuse}},
      .unknown_country = Outcome::kVerify};
  EXPECT_EQ(why_refused(rules), "");
  EXPECT_EQ(decide(rules, facts("DE")).outcome, Outcome::kPass);
  EXPECT_EQ(decide(rules, facts("DE")).rule, "");
  EXPECT_EQ(decide(rules, facts("DE", 1, {"vpn"})).rule, "rented");
  const auto tor = decide(rules, facts("US", 1, {"tor", "datacentre"}));
  EXPECT_EQ(tor.outcome, Outcome::kVerify);
  EXPECT_EQ(tor.rule, "tor");
  EXPECT_THAT(tor.matched, ElementsAre("tor", "rented", "abroad"));
  EXPECT_EQ(decide(rules, facts("US", 1, {"vpn"})).rule, "both");
  EXPECT_EQ(decide(rules, facts("FR", 1, {"vpn"})).rule, "rented");
  EXPECT_EQ(decide(rules, facts("US", 64500, {"tor", "vpn"})).outcome, Outcome::kPass);
  EXPECT_THAT(decide(rules, facts("US", 64500, {"tor"})).matched, ElementsAre("office"));
}

TEST(NetworkRules, AnUnknownCountryHasAnOutcomeOfItsOwn) {
  NetworkRules rules{.rules = {{.name = "abroad", .except_countries = {"DE"}, .outcome = Outcome::kFlag},
                               {.name = "vpn", .kinds = {"vpn"}, .outcome = Outcome::kFlag}},
                     .unknown_country = {}};
  EXPECT_THAT(why_refused(rules), HasSubstr("unknown_country"));
  rules.unknown_country = Outcome::kVerify;
  EXPECT_EQ(why_refused(rules), "");
  const auto unknown = decide(rules, facts(std::nullopt, 1, {"vpn"}));
  EXPECT_EQ(unknown.outcome, Outcome::kVerify);
  EXPECT_EQ(unknown.rule, "unknown_country");
  EXPECT_THAT(unknown.matched, ElementsAre("vpn", "unknown_country"));
  rules.unknown_country = Outcome::kPass;
  EXPECT_EQ(decide(rules, facts(std::nullopt, 1, {"vpn"})).rule, "vpn");
}

TEST(NetworkRules, RefusingByCountryAloneIsWrittenOut) {
  for (const bool except : {false, true}) {
    NetworkRule rule{.name = "r", .outcome = Outcome::kRefuse};
    (except ? rule.except_countries : rule.countries) = {"DE"};
    NetworkRules rules{.rules = {rule}, .unknown_country = Outcome::kFlag};
    EXPECT_THAT(why_refused(rules), HasSubstr("refuse_by_country_alone: true"));
    rules.refuse_by_country_alone = true;
    EXPECT_EQ(why_refused(rules), "");
    EXPECT_EQ(decide(rules, facts(except ? "FR" : "DE")).outcome, Outcome::kRefuse);
    rules.refuse_by_country_alone = false;
    rules.rules[0].kinds = {"tor"};
    EXPECT_EQ(why_refused(rules), "");
    rules.unknown_country = Outcome::kRefuse;
    EXPECT_THAT(why_refused(rules), HasSubstr("refuse an unknown country"));
  }
}

TEST(NetworkRules, MistakesAreSentences) {
  const auto with = [](NetworkRule rule) {
    return NetworkRules{.rules = {std::move(rule)}, .unknown_country = Outcome::kFlag};
  };
  EXPECT_THAT(why_refused(with({.name = "a", .kinds = {"datacenter"}})), HasSubstr("did you mean 'datacentre'?"));
  EXPECT_THAT(why_refused(with({.name = "a", .countries = {"Germany"}})), HasSubstr("two capital letters"));
  EXPECT_THAT(why_refused(with({.name = "a", .countries = {"de"}})), HasSubstr("two capital letters"));
  EXPECT_THAT(why_refused(with({.name = "a", .asns = {0}})), HasSubstr("autonomous system 0"));
  EXPECT_THAT(why_refused(with({.name = "a"})), HasSubstr("states no condition"));
  EXPECT_THAT(why_refused(with({.name = "", .kinds = {"vpn"}})), HasSubstr("has no name"));
  EXPECT_THAT(why_refused(with({.name = "unknown_country", .kinds = {"vpn"}})), HasSubstr("is taken"));
  for (const Outcome outcome : {Outcome::kPass, Outcome::kFlag, Outcome::kVerify, Outcome::kRefuse}) {
    EXPECT_EQ(outcome_of(text_of(outcome)), outcome);
  }
  EXPECT_EQ(outcome_of("block"), std::nullopt);
}

}  // namespace
}  // namespace retort::origin
