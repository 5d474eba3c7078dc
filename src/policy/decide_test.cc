#include "policy/decide.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"

namespace retort::policy {
namespace {

using api::Operation;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const api::Route kChat{api::Family::kOpenAi, Operation::kChat, ""};

EffectivePolicy tier(Exposure expose) {
  EffectivePolicy policy;
  policy.tier.expose = std::move(expose);
  policy.tier_name = "t";
  return policy;
}

api::RequestFacts wish() {
  api::RequestFacts facts;
  facts.model = "small";
  return facts;
}

TEST(Decide, ModelsAreNamedOrByPrefix) {
  Exposure expose;
  expose.models = {"small", "claude-*"};
  EXPECT_TRUE(model_allowed(expose, "small"));
  EXPECT_TRUE(model_allowed(expose, "claude-x"));
  EXPECT_FALSE(model_allowed(expose, "small-2"));
  EXPECT_FALSE(model_allowed(expose, "xclaude-"));
  EXPECT_TRUE(model_allowed(Exposure{}, "anything"));
  api::RequestFacts facts = wish();
  facts.model = "large";
  const Decision decision = decide(tier(expose), kChat, &facts);
  EXPECT_FALSE(decision.allowed);
  EXPECT_EQ(decision.status, 404);
  EXPECT_EQ(decision.rule, "expose.models");
}

TEST(Decide, WithholdsWhatIsBeyondTheTierAndSaysSo) {
  Exposure expose;
  expose.seed = false;
  expose.max_output_tokens = 100;
  expose.reasoning = "none";
  api::RequestFacts facts = wish();
  facts.logprobs = true;
  facts.top_logprobs = 5;
  facts.logit_bias = true;
  facts.seed = true;
  facts.n = 4;
  facts.max_tokens = 500;
  facts.reasoning = true;
  facts.store = true;
  const Decision decision = decide(tier(expose), kChat, &facts);
  EXPECT_TRUE(decision.allowed);
  EXPECT_THAT(decision.withheld, ElementsAre("logprobs", "n=1", "seed", "store", "max_tokens=100", "reasoning"));
  EXPECT_TRUE(decision.strip_reasoning);
  const std::string body =
      R"({"model":"small", "logprobs":true,"top_logprobs":5,"logit_bias":{"1":2},"seed":1,"n":4,"max_tokens":500,"store":true,"x":1.50})";
  EXPECT_EQ(Json::parse(edited_body(Operation::kChat, body, facts, decision, true)),
            Json::parse(R"({"model":"small","logit_bias":{"1":2},"n":1,"max_tokens":100,"store":false,"x":1.5})"));
}

TEST(Decide, CapsAlternativesAndParts) {
  Exposure expose;
  expose.logprobs = 2;
  api::RequestFacts facts = wish();
  facts.logprobs = true;
  facts.top_logprobs = 5;
  facts.logit_bias = true;
  const Decision decision = decide(tier(expose), kChat, &facts);
  EXPECT_THAT(decision.withheld, ElementsAre("top_logprobs=2", "logit_bias"));
  EXPECT_EQ(
      edited_body(Operation::kChat, R"({"logprobs":true,"top_logprobs":5,"logit_bias":{}})", facts, decision, true),
      R"({"logprobs":true,"top_logprobs":2})");
  EXPECT_EQ(Json::parse(edited_body(Operation::kCompletions, R"({"logprobs":5})", facts, decision, true)),
            Json({{"logprobs", 2}}));
}

TEST(Decide, RefusesWhereTheTierSaysSo) {
  Exposure expose;
  expose.excess = "refuse";
  api::RequestFacts facts = wish();
  facts.logprobs = true;
  const Decision decision = decide(tier(expose), kChat, &facts);
  EXPECT_FALSE(decision.allowed);
  EXPECT_EQ(decision.status, 403);
  EXPECT_EQ(decision.code, "logprobs_not_allowed");
  EXPECT_THAT(decision.sentence, HasSubstr("'t'"));
}

TEST(Decide, LeavesABodyAloneThatAsksForNothingWithheld) {
  api::RequestFacts facts = wish();
  const Decision decision = decide(tier({}), kChat, &facts);
  EXPECT_THAT(decision.withheld, IsEmpty());
  const std::string body = R"( {"model" : "small"} )";
  EXPECT_EQ(edited_body(Operation::kChat, body, facts, decision, true), body);
  facts.stream = true;
  EXPECT_EQ(
      Json::parse(edited_body(Operation::kChat, R"({"stream":true,"stream_options":{"a":1}})", facts, decision, true)),
      Json::parse(R"({"stream":true,"stream_options":{"a":1,"include_usage":true}})"));
  EXPECT_EQ(edited_body(Operation::kMessages, R"({"stream":true})", facts, decision, true), R"({"stream":true})");
}

TEST(Decide, PathsAreExposedOneByOne) {
  const std::vector<std::pair<Operation, bool>> byDefault = {
      {Operation::kBatches, false},    {Operation::kFiles, false},    {Operation::kStored, false},
      {Operation::kOther, false},      {Operation::kNone, false},     {Operation::kModels, true},
      {Operation::kModerations, true}, {Operation::kEmbeddings, true}};
  for (const auto& [operation, allowed] : byDefault) {
    EXPECT_EQ(decide(tier({}), {api::Family::kOpenAi, operation, ""}, nullptr).allowed, allowed)
        << api::name_of(operation);
  }
  Exposure all;
  all.batch = all.files = all.stored = all.other_paths = true;
  for (const Operation operation : {Operation::kBatches, Operation::kFiles, Operation::kStored, Operation::kOther}) {
    EXPECT_TRUE(decide(tier(all), {api::Family::kOpenAi, operation, ""}, nullptr).allowed) << api::name_of(operation);
  }
}

TEST(Steps, TakeAwayWhileTheyAreInForce) {
  TierPolicy full;
  full.expose.logprobs = 5;
  full.limits.requests_per_minute = 100;
  full.limits.usd_per_day = 10;
  const auto step = [](StepKind kind) { return Step{kind, "a", "Jane", "why", 1000, 2000}; };
  const StepOptions options;
  EXPECT_EQ(effective("t", full, std::vector{step(StepKind::kStripLogprobs)}, options, 1500).tier.expose.logprobs, 0);
  for (const std::int64_t outside : {999, 2000}) {
    const EffectivePolicy policy = effective("t", full, std::vector{step(StepKind::kBlock)}, options, outside);
    EXPECT_FALSE(policy.blocked);
    EXPECT_EQ(policy.steps, "");
  }
  const EffectivePolicy capped = effective(
      "t", full, std::vector{step(StepKind::kFlag), step(StepKind::kCap), step(StepKind::kSlow)}, options, 1000);
  EXPECT_EQ(capped.tier.limits.requests_per_minute, 10);
  EXPECT_DOUBLE_EQ(*capped.tier.limits.usd_per_day, 1);
  EXPECT_EQ(capped.slow_ms, 2000);
  EXPECT_EQ(capped.steps, "flag cap slow");
  EXPECT_EQ(effective("t", full, std::vector{step(StepKind::kSummariseReasoning)}, options, 1500).tier.expose.reasoning,
            "none")
      << "nobody is named who writes summaries";
  api::RequestFacts facts = wish();
  const Decision blocked =
      decide(effective("t", full, std::vector{step(StepKind::kBlock)}, options, 1500), kChat, &facts);
  EXPECT_EQ(blocked.code, "account_blocked");
  const Decision asked =
      decide(effective("t", full, std::vector{step(StepKind::kAskVerification)}, options, 1500), kChat, &facts);
  EXPECT_EQ(asked.code, "verification_required");
  for (const StepKind kind : {StepKind::kFlag, StepKind::kCap, StepKind::kBlock})
    EXPECT_EQ(step_named(name_of(kind)), kind);
  EXPECT_FALSE(step_named("bloc"));
}

}  // namespace
}  // namespace retort::policy
