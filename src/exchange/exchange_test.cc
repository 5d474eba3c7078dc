#include "exchange/exchange.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "base/json.h"
#include "exchange/scorecard.h"

namespace retort {
namespace {

Exchange example() {
  Exchange exchange;
  exchange.prompt.messages = {{Role::kSystem, "Be brief."}, {Role::kUser, "Warum ist der Himmel blau? 漢"}};
  exchange.completion = {"Rayleigh.", FinishReason::kEnd};
  exchange.tokens.ids = {1, 2, 3, 4, 5};
  exchange.tokens.spans = {{1, 2, SpanKind::kUser, false}, {3, 5, SpanKind::kAssistant, true}};
  exchange.tokens.tokenizer_fingerprint = sha256("tokenizer");
  exchange.provenance.prompt_source = "self_generated";
  exchange.provenance.model = ModelIdentity{"SmolLM2", sha256("file"), sha256("template"), "F16"};
  exchange.provenance.sampling = SamplingOptions{};
  exchange.provenance.code_version = "0.1.0";
  exchange.provenance.created_at = "2026-11-22T00:00:00Z";
  exchange.provenance.terms = "apache-2.0: allowed";
  exchange.provenance.derived_from = {sha256("prompt")};
  return exchange;
}

TEST(Exchange, CanonicalBytesReadBack) {
  const Exchange exchange = example();
  const auto again = from_canonical_bytes(to_canonical_bytes(exchange));
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(*again, exchange);
}

// The golden id: if this changes, the format changed, and old stores need to stay readable.
TEST(Exchange, TheIdIsStable) {
  EXPECT_EQ(exchange_id(example()).hex(), "74f288439c28ec5be4c1ef20e28215f87a61594d1347e08b7d0c5b52c7c5bd56");
}

// The format's page must not lie.
TEST(Exchange, TheExampleOfThePageIsCanonical) {
  const std::string page = read_file(RETORT_SOURCE_DIR "/docs/formats/exchange.md").value();
  const std::size_t begin = page.find("```json\n") + 8;
  std::string bytes = page.substr(begin, page.find("\n```", begin) - begin);
  std::erase(bytes, '\n');
  const auto exchange = from_canonical_bytes(bytes);
  ASSERT_TRUE(exchange) << exchange.error().message;
  EXPECT_EQ(exchange->tokens.spans.size(), 2U);
}

TEST(Exchange, EveryFieldMovesTheId) {
  const Digest id = exchange_id(example());
  Exchange changed = example();
  changed.tokens.ids[0] = 9;
  EXPECT_NE(exchange_id(changed), id);
  changed = example();
  changed.tokens.spans[0].sampled = true;
  EXPECT_NE(exchange_id(changed), id);
  changed = example();
  changed.provenance.sampling->seed = 1;
  EXPECT_NE(exchange_id(changed), id);
}

TEST(Exchange, RefusesWhatItWouldNotWrite) {
  const std::string bytes = to_canonical_bytes(example());
  EXPECT_FALSE(from_canonical_bytes(bytes + " "));
  EXPECT_FALSE(from_canonical_bytes("{}"));
  EXPECT_FALSE(from_canonical_bytes("[1]"));
  std::string newer = bytes;
  newer.replace(newer.find("\"version\":1"), 11, "\"version\":2");
  EXPECT_THAT(from_canonical_bytes(newer).error().message, testing::HasSubstr("version 2"));
  std::string overlapping = bytes;
  overlapping.replace(overlapping.find("[3,5,"), 5, "[1,5,");
  EXPECT_THAT(from_canonical_bytes(overlapping).error().message, testing::HasSubstr("overlap"));
}

TEST(Exchange, ThePromptsDigestIgnoresTheAnswer) {
  Exchange other = example();
  other.completion.text = "else";
  EXPECT_EQ(prompt_digest(other.prompt), prompt_digest(example().prompt));
  other.prompt.messages[1].content += "!";
  EXPECT_NE(prompt_digest(other.prompt), prompt_digest(example().prompt));
}

TEST(Scorecard, ReadsBackAndWritesNullForWhatWasNotMeasured) {
  Scorecard card;
  card.student.name = "student";
  card.student.kl_nats = Estimate{0.5, 0.4, 0.6};
  card.held_out.exchanges = 128;
  const Json json = to_json(card);
  EXPECT_TRUE(json["before"]["kl_nats"].is_null());
  const auto again = scorecard_from_json(json);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(to_json(*again), json);
}

}  // namespace
}  // namespace retort
