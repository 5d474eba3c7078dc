#include "terms/terms.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/json.h"

namespace retort::terms {
namespace {

using ::testing::HasSubstr;

const Purpose kFromOutputs{{Use::kOutputs, Use::kLogprobs}};
const Purpose kFromWeights{{Use::kOutputs, Use::kLogprobs, Use::kWeights}};

TEST(TermsTest, EveryLicenceIsToldWithSourceDateAndClause) {
  std::set<std::string_view> ids;
  for (const Licence& licence : licences()) {
    EXPECT_TRUE(ids.insert(licence.id).second) << licence.id;
    EXPECT_FALSE(licence.clause.empty()) << licence.id;
    EXPECT_FALSE(licence.source.empty()) << licence.id;
    EXPECT_EQ(licence.read_on.size(), 10U) << licence.id;
    EXPECT_EQ(find_licence(licence.id), &licence);
    EXPECT_NE(licence.outputs, Verdict::kUnknown) << licence.id;
    if (licence.outputs != Verdict::kAllowed || licence.derivative != Verdict::kAllowed) {
      EXPECT_FALSE(licence.obligations.empty()) << licence.id;
    }
    for (const std::string_view alias : licence.aliases) EXPECT_EQ(find_licence(alias), &licence) << alias;
  }
}

TEST(TermsTest, SpellingsOfOneLicenceAreOne) {
  for (const char* text : {"apache-2.0", "Apache 2.0", "APACHE-2.0", "Apache License, Version 2.0", "apache_2.0"}) {
    const Licence* licence = find_licence(text);
    ASSERT_NE(licence, nullptr) << text;
    EXPECT_EQ(licence->id, "apache-2.0");
  }
  EXPECT_EQ(find_licence("llama3")->id, "llama3");
  EXPECT_EQ(find_licence("llama3.1")->id, "llama3.1");
  EXPECT_EQ(find_licence("llama31"), nullptr) << "a near miss is not a licence";
  EXPECT_EQ(find_licence(""), nullptr);
  EXPECT_EQ(find_licence("  "), nullptr);
}

TEST(TermsTest, ApacheIsAllowedAndItsObligationsFollowTheWeights) {
  const Declared declared{.licence = "apache-2.0", .licence_name = {}, .licence_link = {}, .model_name = "Small"};
  const Decision outputs = decide(declared, kFromOutputs, {});
  EXPECT_EQ(outputs.verdict, Verdict::kAllowed);
  EXPECT_TRUE(outputs.obligations.empty());
  const Decision weights = decide(declared, kFromWeights, {});
  EXPECT_EQ(weights.verdict, Verdict::kAllowedWithObligations);
  EXPECT_FALSE(weights.obligations.empty());
  EXPECT_EQ(weights.record(), "apache-2.0: allowed_with_obligations");
  EXPECT_TRUE(admit(declared, kFromWeights, {}));
}

TEST(TermsTest, LlamaThreeRefusesOtherStudentsButNotItsOwnDerivatives) {
  const Declared declared{.licence = "llama3", .licence_name = {}, .licence_link = {}, .model_name = {}};
  EXPECT_EQ(decide(declared, kFromWeights, {}).verdict, Verdict::kAllowedWithObligations);
  const auto refused = admit(declared, kFromOutputs, {.by = "Ada", .licence = "llama3"});
  ASSERT_FALSE(refused) << "a name doesn't change what a licence refuses";
  EXPECT_EQ(refused.error().fault, Fault::kCaller);
  EXPECT_THAT(refused.error().message, HasSubstr("Llama 3"));
  EXPECT_THAT(refused.error().message, HasSubstr("models/llama3/LICENSE"));
}

TEST(TermsTest, AMissingLicenceStopsUntilSomebodyNamesIt) {
  const auto stopped = admit({}, kFromWeights, {});
  ASSERT_FALSE(stopped);
  EXPECT_THAT(stopped.error().message, HasSubstr("general.license is missing"));
  EXPECT_THAT(stopped.error().message, HasSubstr("accepted_by:"));
  EXPECT_THAT(stopped.error().message, HasSubstr("accepted_licence:"));
  EXPECT_FALSE(admit({}, kFromWeights, {.by = {}, .licence = "mit"})) << "a licence without a name is nobody's word";
  EXPECT_FALSE(admit({}, kFromWeights, {.by = "Ada", .licence = {}})) << "a name must say what was accepted";

  const auto accepted = admit({}, kFromWeights, {.by = "Ada", .licence = "MIT"});
  ASSERT_TRUE(accepted);
  EXPECT_EQ(accepted->licence_id, "mit");
  EXPECT_EQ(accepted->record(), "mit: allowed_with_obligations (accepted by Ada)");
  EXPECT_FALSE(admit({}, kFromOutputs, {.by = "Ada", .licence = "llama2"})) << "a named licence is judged as itself";
}

TEST(TermsTest, AnUnknownLicenceStopsUntilSomebodyAcceptsThatOne) {
  const Declared declared{
      .licence = "other", .licence_name = "acme-1", .licence_link = "https://acme.example/l", .model_name = "Acme 7B"};
  const auto stopped = admit(declared, kFromWeights, {});
  ASSERT_FALSE(stopped);
  EXPECT_THAT(stopped.error().message, HasSubstr("Acme 7B"));
  EXPECT_THAT(stopped.error().message, HasSubstr("accepted_licence: acme-1"));
  EXPECT_THAT(stopped.error().message, HasSubstr("https://acme.example/l"));

  const auto other = admit(declared, kFromWeights, {.by = "Ada", .licence = "apache-2.0"});
  ASSERT_FALSE(other) << "one licence can't be passed off as another";
  EXPECT_THAT(other.error().message, HasSubstr("acme-1"));

  const auto accepted = admit(declared, kFromWeights, {.by = "Ada", .licence = "ACME-1"});
  ASSERT_TRUE(accepted);
  EXPECT_EQ(accepted->verdict, Verdict::kAllowedWithObligations);
  EXPECT_EQ(accepted->accepted_by, "Ada");
  EXPECT_EQ(to_json(*accepted).at("licence"), "acme-1");
}

TEST(TermsTest, ResearchLicencesNeedSomebodysWord) {
  const Declared declared{.licence = "qwen-research", .licence_name = {}, .licence_link = {}, .model_name = "Q"};
  EXPECT_EQ(decide(declared, kFromWeights, {}).verdict, Verdict::kNeedsAuthorisation);
  const Decision accepted = decide(declared, kFromWeights, {.by = "Ada", .licence = "qwen-research"});
  EXPECT_EQ(accepted.verdict, Verdict::kAllowedWithObligations);
  EXPECT_FALSE(accepted.obligations.empty());
}

TEST(TermsTest, TheWordUnknownIsNoLicence) {
  const Declared declared{.licence = "unknown", .licence_name = {}, .licence_link = {}, .model_name = {}};
  const auto stopped = admit(declared, kFromWeights, {});
  ASSERT_FALSE(stopped);
  EXPECT_THAT(stopped.error().message, HasSubstr("general.license is missing"));
}

}  // namespace
}  // namespace retort::terms
