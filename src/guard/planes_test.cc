#include "guard/planes.h"

#include <gmock/gmock.h>

namespace retort::guard {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

policy::TierPolicy strict_tier() {
  policy::TierPolicy tier;
  tier.expose.models = {"small"};
  tier.expose.reasoning = "none";
  tier.expose.seed = false;
  tier.expose.max_output_tokens = 100;
  return tier;
}

TEST(Planes, TheProxyDecidesEverything) { EXPECT_THAT(undecided(strict_tier(), Plane::kProxy, true), IsEmpty()); }

TEST(Planes, WithoutTheBodyWhatItAsksForIsUndecided) {
  const auto left = undecided(strict_tier(), Plane::kHeaders, false);
  for (const char* key : {"models", "reasoning", "seed", "logprobs", "n", "stored", "max_output_tokens"}) {
    EXPECT_THAT(left, Contains(key));
  }
  EXPECT_THAT(left, Not(Contains("tools")));  // they are exposed: nothing is left to decide
  EXPECT_THAT(left, Not(Contains("tokens_per_minute")));
}

TEST(Planes, WithTheBodyOnlyTheAnswerIsOutOfSight) {
  EXPECT_THAT(undecided(strict_tier(), Plane::kWhole, true), ElementsAre("reasoning", "sealing"));
  EXPECT_THAT(undecided(policy::TierPolicy(), Plane::kWhole, false), IsEmpty());
}

TEST(Planes, NotesNameTheTierAndWhatIsLeft) {
  GuardOptions options;
  options.authz.listen = "127.0.0.1:0";
  policy::PolicyOptions policy;
  policy.tiers["strict"] = strict_tier();
  policy.tiers["paid"].limits.usd_per_day = 1;
  auto notes = notes_on_planes(options, policy);
  EXPECT_THAT(notes, ElementsAre(HasSubstr("authz.listen refuses the tier 'paid'"),
                                 HasSubstr("lets the tier 'strict' pass without deciding models")));
  options.authz.undecided = "refuse";
  EXPECT_THAT(notes_on_planes(options, policy), Contains(HasSubstr("refuses the tier 'strict', because")));
  options.authz.listen = "10.0.0.1:80";
  EXPECT_THAT(notes_on_planes(options, policy), Contains(HasSubstr("in clear")));
  options.authz = {.listen = "", .ext_authz = "unix:/tmp/x", .bodies = true, .undecided = "pass"};
  EXPECT_THAT(notes_on_planes(options, policy),
              ElementsAre(HasSubstr("pass without deciding reasoning"), HasSubstr("the most it may cost")));
}

}  // namespace
}  // namespace retort::guard
