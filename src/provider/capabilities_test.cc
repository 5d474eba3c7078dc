#include "provider/capabilities.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "net/testing.h"

namespace retort::provider {
namespace {

using ::testing::HasSubstr;

// A service that knows so much.
struct Service {
  std::optional<int> most_logprobs = 20;
  bool echo = true;
  bool seed = true;
  bool new_limit_name = false;
  std::vector<std::string> models = {"teacher-7b"};
  int paid = 0;

  Result<net::HttpOutcome> answer(const net::HttpCall& call, std::optional<WorstCase> bill) {
    if (bill) ++paid;
    EXPECT_EQ(bill.has_value(), call.method == "POST") << "what costs is in the books";
    if (call.url.ends_with("/models")) {
      Json list = Json::array();
      for (const std::string& model : models) list.push_back({{"id", model}});
      return net::json_outcome(200, canonical_json({{"data", list}}));
    }
    if (call.method == "GET") return net::json_outcome(200, R"({"data":[]})");
    const Json body = Json::parse(call.body);
    if (call.url.ends_with("/v1/completions")) {
      if (!echo) return net::json_outcome(404, "{}");
      return net::json_outcome(200, R"({"choices":[{"logprobs":{"token_logprobs":[null,-1,-2,-3]}}]})");
    }
    return chat(body);
  }

  net::HttpOutcome chat(const Json& body) const {
    const auto refused = [](const std::string& why) {
      return net::json_outcome(400, canonical_json({{"error", {{"message", why}}}}));
    };
    if (new_limit_name && body.contains("max_tokens")) return refused("use max_completion_tokens instead");
    if (!seed && body.contains("seed")) return refused("unknown field 'seed'");
    Json choice = {{"finish_reason", "length"}, {"message", {{"content", "OK"}}}};
    if (body.contains("logprobs")) {
      const int top = body.value("top_logprobs", 0);
      if (!most_logprobs || top > *most_logprobs) return refused("too many log-probabilities");
      Json list = Json::array();
      for (int i = 0; i < top; ++i) list.push_back({{"token", "a"}, {"logprob", -1.0}});
      choice["logprobs"]["content"] = {{{"token", "OK"}, {"logprob", -0.1}, {"top_logprobs", list}}};
    }
    return net::json_outcome(200, canonical_json({{"choices", {choice}}}));
  }

  Result<Capabilities> probed() {
    const auto ask = [this](net::HttpCall call, std::optional<WorstCase> bill) { return answer(call, bill); };
    return probe({openai_chat(), "http://h/v1", "", "teacher-7b"}, ask, "2026-01-01T00:00:00Z");
  }
};

TEST(CapabilitiesTest, ARichServiceIsSeenAsOne) {
  Service service;
  const auto found = service.probed();
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->top_logprobs, 20);
  EXPECT_TRUE(found->prompt_logprobs && found->seed && found->batch);
  EXPECT_EQ(service.paid, 2);
  EXPECT_EQ(*capabilities_from_json(to_json(*found)), *found);
}

TEST(CapabilitiesTest, WhatIsRefusedIsLeftOutAndTheRestFound) {
  Service five;
  five.most_logprobs = 5;
  EXPECT_EQ(five.probed()->top_logprobs, 5);
  Service sampled;
  sampled.most_logprobs = 0;
  EXPECT_EQ(sampled.probed()->top_logprobs, 0);
  Service plain;
  plain.most_logprobs.reset();
  plain.seed = false;
  plain.new_limit_name = true;
  plain.echo = false;
  const auto found = plain.probed();
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_FALSE(found->top_logprobs);
  EXPECT_FALSE(found->seed);
  EXPECT_TRUE(found->max_completion_tokens);
  EXPECT_FALSE(found->prompt_logprobs);
  EXPECT_EQ(found->sentence(), "text, batches");
}

TEST(CapabilitiesTest, AnUnknownModelIsToldWithTheNearest) {
  Service service;
  service.models = {"teacher-8b", "other"};
  const auto found = service.probed();
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().fault, Fault::kCaller);
  EXPECT_THAT(found.error().message, HasSubstr("teacher-8b"));
}

TEST(CapabilitiesTest, APoolCanDoWhatAllOfItCan) {
  Capabilities a;
  a.top_logprobs = 20;
  a.seed = true;
  Capabilities b;
  b.top_logprobs = 5;
  EXPECT_EQ(common(a, b).top_logprobs, 5);
  EXPECT_FALSE(common(a, b).seed);
  b.top_logprobs.reset();
  EXPECT_FALSE(common(a, b).top_logprobs);
}

}  // namespace
}  // namespace retort::provider
