#include "evidence/exchange_records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "evidence/json_text.h"

namespace retort::evidence {
namespace {

AdmissionRecord full_admission() {
  AdmissionRecord record;
  record.id = "ex_1";
  record.time_unix_ms = 1764160000123;
  record.account = "rk_\"quoted\"\n";
  record.organisation = "acme \xC3\xA9";
  record.tier = "verified";
  record.end_customer = "c-9";
  record.dialect = "openai.chat";
  record.model = "m";
  record.path = "/v1/chat/completions";
  record.conversation = "00ff";
  record.batch = true;
  record.client = {"192.0.2.1", "agent/1 \x7f", "t13d"};
  record.network = R"({"asn":64500,"country":"NL"})";
  record.asked = {true, true, true, true, true, true, true, true, 20, 2, 4096, "high"};
  record.granted = {true, false, false, false, false, true, false, false, 0, 1, 1024, ""};
  record.decision = {false, "tiers.verified", "no logprobs", {"flag", "strip_logprobs"}, {"logprobs"}};
  record.status = 403;
  record.in_force = std::string(64, 'a');
  record.texts = {{"prompt", 10, 2, Sketcher(SecretKey{}).sketch("two words")}, {"system", 3, 1, std::nullopt}};
  record.sealed = Sealed{"0123456789abcdef", "2025-11-26"};
  return record;
}

CompletionRecord full_completion() {
  CompletionRecord record;
  record.id = "ex_1";
  record.time_unix_ms = 1764160001000;
  record.organisation = "acme";
  record.ended = Ended::kClientAborted;
  record.status = 200;
  record.upstream_status = 200;
  record.upstream = "main";
  record.upstream_id = "chatcmpl-1";
  record.finish = "length";
  record.input_tokens = 10;
  record.cached_tokens = 4;
  record.cache_written_tokens = 3;
  record.output_tokens = 20;
  record.reasoning_tokens = 5;
  record.nano_usd = 123456789;
  record.request_bytes = 100;
  record.response_bytes = 200;
  record.first_byte_us = 300;
  record.total_us = 400;
  record.facts = R"({"blobs":1})";
  record.texts = {{"answer", 10, 2, std::nullopt}};
  record.sealed = Sealed{"0123456789abcdef", "2025-11-26"};
  return record;
}

TEST(ExchangeRecords, AreCanonicalJsonAndReadBackTheSame) {
  for (const AdmissionRecord& record : {full_admission(), AdmissionRecord{}}) {
    std::string text;
    append_json(record, text);
    EXPECT_EQ(text, canonical_json(parse_json(text, "test").value()));
    const auto read = read_admission(text);
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, record);
  }
  for (const CompletionRecord& record : {full_completion(), CompletionRecord{}}) {
    std::string text;
    append_json(record, text);
    EXPECT_EQ(text, canonical_json(parse_json(text, "test").value()));
    const auto read = read_completion(text);
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, record);
  }
}

TEST(ExchangeRecords, StringsAreEscapedAsCanonicalJsonDoes) {
  std::string every;
  for (int c = 1; c < 128; ++c) every += static_cast<char>(c);
  for (const std::string& text : {every, every + std::string(1, '\0') + every, std::string("na\xC3\xAFve\n"),
                                  std::string("bad\xC3"), std::string()}) {
    std::string out;
    append_json_string(out, text);
    EXPECT_EQ(out, canonical_json(Json(text)));
  }
}

TEST(ExchangeRecords, InvalidUtf8BecomesTheReplacementCharacter) {
  AdmissionRecord record;
  record.id = "x";
  record.client.user_agent = "bad\xFF";
  std::string text;
  append_json(record, text);
  EXPECT_EQ(read_admission(text)->client.user_agent, "bad\xEF\xBF\xBD");
}

TEST(ExchangeRecords, RefuseWhatTheyAreNotAndIgnoreWhatTheyDontKnow) {
  EXPECT_FALSE(read_admission("[]"));
  EXPECT_FALSE(read_admission("{"));
  EXPECT_FALSE(read_admission("{}"));
  EXPECT_FALSE(read_completion(R"({"id":7,"time":"2026-11-22T04:37:47.123Z"})"));
  EXPECT_FALSE(read_admission(R"({"id":"a","time":"2026-11-22T04:37:47.123Z","client":[]})"));
  const auto grown = read_admission(R"({"id":"a","time":"2026-11-22T04:37:47.123Z","new":{"x":1}})");
  ASSERT_TRUE(grown);
  EXPECT_EQ(grown->id, "a");
}

TEST(ExchangeRecords, TimesAreThoseOfTheCalendar) {
  EXPECT_EQ(rfc3339_ms(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(rfc3339_ms(951827696789), "2000-02-29T12:34:56.789Z");
  EXPECT_EQ(rfc3339_ms(-1), "1969-12-31T23:59:59.999Z");
  EXPECT_EQ(utc_day(951827696789), "2000-02-29");
  for (const std::int64_t ms : {0LL, 951827696789LL, -1LL, 1764160000123LL}) EXPECT_EQ(unix_ms_of(rfc3339_ms(ms)), ms);
  for (const char* wrong :
       {"", "2026-11-22", "2026-13-22T04:37:47.123Z", "2026-11-22T24:37:47.123Z", "2026-02-30T04:37:47.123Z"}) {
    EXPECT_FALSE(unix_ms_of(wrong)) << wrong;
  }
}

}  // namespace
}  // namespace retort::evidence
