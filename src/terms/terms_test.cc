#include "terms/terms.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <string>

#include "base/json.h"
#include "terms/facts.h"

namespace retort::terms {
namespace {

using ::testing::HasSubstr;

constexpr const char* kToday = "2026-11-26";

std::string text(const Json& json, const char* key) { return json.value(key, std::string()); }

Query query_of(const Json& ask) {
  Query query;
  query.model = text(ask, "model");
  query.route = text(ask, "route");
  if (ask.contains("declared")) {
    const Json& declared = ask["declared"];
    query.declared = Declared{text(declared, "licence"),
                              text(declared, "licence_name"),
                              {},
                              text(declared, "model_name"),
                              declared.value("other_names", std::vector<std::string>())};
  }
  query.relation = relation_from_name(ask.value("relation", "outputs")).value();
  query.purpose = purpose_from_name(ask.value("purpose", "internal")).value();
  query.distributed = ask.value("distributed", false);
  query.commercial = ask.value("commercial", false);
  query.region = text(ask, "region");
  query.monthly_users = ask.value("monthly_users", std::int64_t{0});
  query.student = text(ask, "student");
  query.today = ask.value("today", std::string(kToday));
  query.terms_version = text(ask, "terms_version");
  if (ask.contains("acceptance"))
    query.acceptance = {text(ask["acceptance"], "by"), text(ask["acceptance"], "licence")};
  if (ask.contains("authorisation")) {
    const Json& given = ask["authorisation"];
    query.authorisation = {text(given, "by"), text(given, "document"), text(given, "scope"), text(given, "expires"),
                           given.value("from_licensor", false)};
  }
  return query;
}

// What is known of what `ask` may say: a misspelt key would make a row pass for nothing.
const std::set<std::string> kKeys = {"model",       "route",         "declared", "relation",     "purpose",
                                     "distributed", "commercial",    "region",   "student",      "monthly_users",
                                     "acceptance",  "authorisation", "today",    "terms_version"};

Json scenarios() {
  std::ifstream in(std::string(RETORT_SOURCE_DIR) + "/src/terms/scenarios.json");
  return Json::parse(in, nullptr, false);
}

// The table: every row of what is known, and what makes a decision another.
TEST(TermsTest, Scenarios) {
  const Json table = scenarios();
  ASSERT_TRUE(table.is_array());
  ASSERT_GT(table.size(), 100U);
  for (const Json& row : table) {
    SCOPED_TRACE(text(row, "name"));
    for (const auto& [key, value] : row["ask"].items()) EXPECT_TRUE(kKeys.count(key) == 1) << key;
    const Query query = query_of(row["ask"]);
    const Decision decision = decide(query);
    EXPECT_EQ(name_of(decision.verdict), text(row, "decision")) << decision.explanation;
    // Each begins as one of what is listed ("name_prefix Llama"; "notice" for any), and there are no others.
    if (row.contains("obligations")) {
      std::vector<std::string> left = row["obligations"].get<std::vector<std::string>>();
      for (const Obligation& obligation : decision.obligations) {
        const std::string said = std::string(name_of(obligation.kind)) + " " + obligation.value;
        const auto fits = std::find_if(left.begin(), left.end(), [&](const std::string& wanted) {
          return wanted == name_of(obligation.kind) || wanted == said ||
                 (wanted.starts_with("notice ") && obligation.kind == ObligationKind::kNotice &&
                  obligation.value.find(wanted.substr(7)) != std::string::npos);
        });
        if (fits == left.end()) {
          ADD_FAILURE() << "not expected: " << said;
        } else {
          left.erase(fits);
        }
      }
      EXPECT_THAT(left, ::testing::IsEmpty());
    }
    if (row.contains("source")) {
      const auto named = std::find_if(decision.clauses.begin(), decision.clauses.end(), [&](const Clause& clause) {
        return clause.source.find(text(row, "source")) != std::string::npos;
      });
      ASSERT_NE(named, decision.clauses.end()) << to_json(decision).dump(1);
      if (row.contains("read")) {
        EXPECT_EQ(named->primary, text(row, "read") == "primary");
      }
    } else if (row.contains("read")) {
      ASSERT_FALSE(decision.clauses.empty());
      EXPECT_EQ(decision.clauses.front().primary, text(row, "read") == "primary");
    }
    EXPECT_EQ(admit(query).has_value(), decision.may_proceed());
    EXPECT_FALSE(decision.explanation.empty());
    // Pure: the same question has the same answer, to the byte.
    EXPECT_EQ(to_json(decide(query)).dump(), to_json(decision).dump());
    EXPECT_EQ(decide(query).record(), decision.record());
    // What was recorded can be decided again.
    Query again = query_from_json(to_json(decision));
    again.declared = query.declared;
    again.today = query.today;
    if (query.acceptance.by.empty() == decision.accepted_by.empty() && query.terms_version.empty()) {
      EXPECT_EQ(decide(again).record(), decision.record());
    }
  }
}

// Every licence, API and family is asked about by some row.
TEST(TermsTest, EveryTextIsInTheScenarios) {
  std::set<std::string> seen;
  for (const Json& row : scenarios()) {
    for (const std::string& origin : decide(query_of(row["ask"])).origins) seen.insert(origin);
  }
  for (const std::span<const Text> table : {licences(), api_terms()}) {
    for (const Text& one : table) EXPECT_TRUE(seen.count(std::string(one.id)) == 1) << one.id;
  }
}

TEST(TermsTest, EveryTextHasSourceDateRulesAndClauses) {
  std::set<std::string_view> ids;
  for (const std::span<const Text> table : {licences(), api_terms()}) {
    for (const Text& one : table) {
      SCOPED_TRACE(one.id);
      EXPECT_TRUE(ids.insert(one.id).second);
      EXPECT_FALSE(one.name.empty());
      EXPECT_FALSE(one.source.empty());
      EXPECT_EQ(one.date.size(), 10U);
      EXPECT_EQ(find_text(one.id), &one);
      ASSERT_FALSE(one.rules.empty());
      for (const Rule& rule : one.rules) EXPECT_FALSE(rule.quote.empty());
      const When& last = one.rules.back().when;
      EXPECT_TRUE(!last.derivative && !last.distributed && !last.commercial && !last.multimodal &&
                  last.purposes.empty() && last.regions.empty() && last.users_above == 0)
          << "some question has no rule";
      if (one.licence) {
        EXPECT_EQ(find_licence(one.id), &one);
        for (const std::string_view alias : one.aliases) EXPECT_EQ(find_licence(alias), &one) << alias;
      }
    }
  }
  for (const Provider& provider : providers()) {
    for (const std::string_view id : provider.texts) EXPECT_NE(find_text(id), nullptr) << id;
    for (const std::string_view alias : provider.aliases) EXPECT_EQ(find_provider(alias), &provider) << alias;
  }
}

// A family's own name finds it, with its size, in any case and after any organisation.
TEST(TermsTest, EveryFamilyIsFoundByItsName) {
  for (const Family& family : families()) {
    if (family.name.find('#') != std::string_view::npos) continue;
    std::string name(family.name);
    if (!family.size.empty()) name += "-Chat-" + std::string(family.size);
    const Family* found = find_family("Some-Org/" + name);
    ASSERT_NE(found, nullptr) << name;
    EXPECT_EQ(found->name, family.name) << name;
    EXPECT_EQ(found->size, family.size) << name;
    for (const std::string_view id : family.texts) EXPECT_NE(find_text(id), nullptr) << id;
  }
}

TEST(TermsTest, SpellingsOfOneLicenceAreOne) {
  for (const char* spelling : {"apache-2.0", "Apache 2.0", "APACHE-2.0", "Apache License, Version 2.0", "apache_2.0"}) {
    const Text* licence = find_licence(spelling);
    ASSERT_NE(licence, nullptr) << spelling;
    EXPECT_EQ(licence->id, "apache-2.0");
  }
  EXPECT_EQ(find_licence("llama31"), nullptr) << "a near miss is not a licence";
  EXPECT_EQ(find_licence(""), nullptr);
  EXPECT_EQ(find_licence("  "), nullptr);
}

TEST(TermsTest, TheRouteOfAnEndpointIsReadFromItsHost) {
  for (const auto& [url, route] : std::vector<std::pair<std::string, std::string>>{
           {"https://api.openai.com/v1", "openai"},
           {"https://API.Anthropic.com", "anthropic"},
           {"https://generativelanguage.googleapis.com/v1beta/openai/", "google"},
           {"https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1", "aws"},
           {"https://eu.api.openai.com:443/v1", "openai"},
           {"https://api.openai.com.evil.example/v1", "api.openai.com.evil.example"},
           {"https://user@api.deepseek.com/v1", "deepseek"},
           {"http://127.0.0.1:8000/v1", "own"},
           {"http://localhost:8000", "own"},
           {"http://[::1]:8000/v1", "own"},
           {"http://10.1.2.3/v1", "own"},
           {"http://172.16.0.9:8000", "own"},
           {"http://172.32.0.9:8000", "172.32.0.9"},
           {"http://192.168.1.20", "own"},
           {"http://gpu-box:8000/v1", "own"},
           {"http://8.8.8.8/v1", "8.8.8.8"},
           {"https://openrouter.ai/api/v1", "openrouter.ai"},
           {"https://127.0.0.1.example.com", "127.0.0.1.example.com"}}) {
    EXPECT_EQ(route_of_endpoint(url), route) << url;
  }
}

TEST(TermsTest, TheAuthorisationTravelsInTheRecord) {
  Query query;
  query.model = "claude-opus-4-1";
  query.today = kToday;
  EXPECT_EQ(decide(query).record(), "anthropic-usage-policy + anthropic-commercial-terms: needs_authorisation");
  query.authorisation = {"Anthropic", std::string(64, 'a'), "one classifier", "2027-01-31", true};
  const Decision decision = decide(query);
  EXPECT_EQ(
      decision.record(),
      "anthropic-usage-policy + anthropic-commercial-terms: allowed_with_obligations (authorised by Anthropic, the "
      "licensor, document " +
          std::string(64, 'a') + ", scope: one classifier, until 2027-01-31)");
  const Json json = to_json(decision);
  EXPECT_EQ(json["authorisation"]["by"], "Anthropic");
  EXPECT_EQ(json["lifted"], "needs_authorisation");
  // Kept with decisions that didn't need it, too: it was given.
  query.model = "deepseek-chat";
  EXPECT_THAT(decide(query).record(), HasSubstr("deepseek-api-terms: allowed (authorised by Anthropic"));
  EXPECT_TRUE(to_json(decide(query))["lifted"].is_null());
}

TEST(TermsTest, WhatStopsARunSaysWhatToWrite) {
  Query query;
  query.model = "Acme 7B";
  query.declared = Declared{"other", "acme-1", "https://acme.example/l", "Acme 7B", {}};
  const auto stopped = admit(query);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().fault, Fault::kCaller);
  for (const char* words :
       {"Acme 7B", "acme-1", "https://acme.example/l", "authorisation:", "document:", "legal advice"}) {
    EXPECT_THAT(stopped.error().message, HasSubstr(words));
  }
  query.declared = Declared{};
  EXPECT_THAT(admit(query).error().message, HasSubstr("accepted_licence:"));
  query.authorisation = {"Ada", std::string(64, 'a'), "all", "2020-01-01", false};
  query.today = kToday;
  EXPECT_THAT(admit(query).error().message, HasSubstr("it expired on 2020-01-01"));
}

TEST(TermsTest, TheJsonIsWhatTheCommandLinePromises) {
  Query query;
  query.model = "meta-llama/Llama-3.1-8B-Instruct";
  query.distributed = true;
  const Json json = to_json(decide(query));
  EXPECT_EQ(json["model"], query.model);
  EXPECT_EQ(json["relation"], "outputs");
  EXPECT_EQ(json["decision"], "allowed_with_obligations");
  EXPECT_EQ(json["obligations"][0]["kind"], "name_prefix");
  EXPECT_EQ(json["obligations"][0]["value"], "Llama");
  EXPECT_EQ(json["obligations"][1]["value"], 700000000);
  for (const char* key : {"quote", "source", "date", "read"}) EXPECT_TRUE(json["clauses"][0].contains(key)) << key;
  EXPECT_EQ(obligations_from_json(json), decide(query).obligations);
  // As earlier versions wrote them.
  const auto old = obligations_from_json({{"obligations", {"Keep the notices."}}});
  ASSERT_EQ(old.size(), 1U);
  EXPECT_EQ(old[0].kind, ObligationKind::kNotice);
  EXPECT_TRUE(obligations_from_json(Json::array()).empty());
}

TEST(TermsTest, ARegionThatIsntSaidIsAskedFor) {
  Query query;
  query.model = "meta-llama/Llama-4-Scout-17B-16E";
  EXPECT_THAT(decide(query).explanation, HasSubstr("(region)"));
  query.region = "CH";
  EXPECT_THAT(decide(query).explanation, ::testing::Not(HasSubstr("(region)")));
  query.region.clear();
  query.model = "meta-llama/Llama-3.2-1B";
  EXPECT_THAT(decide(query).explanation, ::testing::Not(HasSubstr("(region)"))) << "its text models have no such limit";
}

TEST(TermsTest, NamesThatDontExistAreTold) {
  EXPECT_THAT(purpose_from_name("fun").error().message, HasSubstr("research, internal, product, classifier"));
  EXPECT_THAT(relation_from_name("").error().message, HasSubstr("outputs, logprobs, weights"));
}

}  // namespace
}  // namespace retort::terms
