#include "collect/personal_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "base/text.h"

namespace retort::collect {
namespace {

std::string masked(std::string text) {
  mask_personal_data(text);
  return text;
}

// A key as an issuer makes it, put together here so that no scanner of repositories takes it for a real one.
std::string key(const std::string& prefix, std::size_t size) {
  std::string text = prefix;
  for (std::size_t i = 0; i < size; ++i) text += "a1B2c3D4e5F6g7H8"[(i * 7) % 16];
  return text;
}

TEST(PersonalDataTest, MasksEveryKindInItsPlace) {
  EXPECT_EQ(masked("Write to ada.l+x@mail.example.org, please."), "Write to [EMAIL], please.");
  EXPECT_EQ(masked("<bob@example.com>;eve@example.co.uk."), "<[EMAIL]>;[EMAIL].");
  EXPECT_EQ(masked("邮箱bob@example.com。"), "邮箱[EMAIL]。");
  EXPECT_EQ(masked("call +49 (0)731 123-4567 now"), "call [PHONE] now");
  EXPECT_EQ(masked("call (415) 555-2671 or 415-555-2671."), "call [PHONE] or [PHONE].");
  EXPECT_EQ(masked("Phone: 020 7946 0958\n"), "Phone: [PHONE]\n");
  EXPECT_EQ(masked("from 192.168.17.4, 203.0.113.9:8080"), "from [IP], [IP]:8080");
  EXPECT_EQ(masked("at 2001:db8::8a2e:370:7334 and [fe80::1ff:fe23]"), "at [IP] and [[IP]]");
  EXPECT_EQ(masked("card 4111 1111 1111 1111, 378282246310005"), "card [CARD], [CARD]");
  EXPECT_EQ(masked("IBAN DE89 3704 0044 0532 0130 00 or GB29NWBK60161331926819"), "IBAN [IBAN] or [IBAN]");
  EXPECT_EQ(masked("SSN 123-45-6789."), "SSN [SSN].");
  EXPECT_EQ(masked("db: postgres://ada:s3cret@db.internal:5432/x"), "db: postgres://[SECRET]@db.internal:5432/x");
}

TEST(PersonalDataTest, MasksKeysByTheirForm) {
  for (const std::string& secret :
       {key("sk-", 48), key("sk-proj-", 60), key("sk-ant-api03-", 80), key("ghp_", 36), key("github_pat_", 60),
        key("glpat-", 20), key("hf_", 34), key("AIza", 35), key("xoxb-", 40), key("xoxp-", 40),
        std::string("AKIA") + "IOSFODNN7EXAMPLE", key("sk_live_", 24)}) {
    EXPECT_EQ(masked("key=" + secret + ", then"), "key=[SECRET], then") << secret;
    EXPECT_EQ(masked("\"" + secret + "\""), "\"[SECRET]\"");
  }
  EXPECT_EQ(masked("Authorization: Bearer " + key("", 40)), "Authorization: Bearer [SECRET]");
  const std::string token = "eyJhbGciOiJIUzI1NiJ9." + key("eyJ", 40) + "." + key("", 43);
  EXPECT_EQ(masked("t=" + token + "."), "t=[SECRET].");
  const std::string begin = std::string("-----BEGIN RSA ") + "PRIVATE KEY-----";
  const std::string end = std::string("-----END RSA ") + "PRIVATE KEY-----";
  EXPECT_EQ(masked("a\n" + begin + "\nMIIEow\nabc\n" + end + "\nb"), "a\n[SECRET]\nb");
  EXPECT_EQ(masked(begin + "\n" + key("", 64) + "\n" + key("", 64)), "[SECRET]");
}

TEST(PersonalDataTest, LeavesOrdinaryTextAlone) {
  for (const std::string text : {"@app.route('/') def f(x): return a@b.T",
                                 "git@github.com:org/repo.git",
                                 "icon@2x.png",
                                 "user@localhost",
                                 "pi is 3.14159265358979323846",
                                 "version 10.20.30.40",
                                 "section 1.2.3.4",
                                 "127.0.0.1 and 0.0.0.0",
                                 "10.0.21.0/24",
                                 "std::vector<a::b>, dead::beef",
                                 "at 12:30:45 on 2024-01-15",
                                 "00:1A:2B:3C:4D:5E",
                                 "x = (123) + 4567",
                                 "call 911",
                                 "1,234,567,890 people",
                                 "order 4111111111111112",
                                 "ISBN 978-3-16-148410-0",
                                 "2019-2020",
                                 "sk-circle-fade-dot-number-12",
                                 "the bearer of bad news, 12 of them",
                                 "Bearer $TOKEN",
                                 "-----BEGIN CERTIFICATE-----",
                                 "Where is -----BEGIN PRIVATE KEY----- read?",
                                 "https://example.org:8080/a@b",
                                 "DE89 3704 0044 0532 0130 01",
                                 "000-12-3456 and 123-45-678",
                                 "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                                 "550e8400-e29b-41d4-a716-446655440000",
                                 "5 +10 20 30 40",
                                 "f(415) 555",
                                 "The phone costs 1000 in 2019-2020.",
                                 "mysql://$USER:$PASS@host/db",
                                 "[EMAIL] [SECRET] [PHONE]"}) {
    EXPECT_EQ(masked(text), text);
  }
}

TEST(PersonalDataTest, CountsByKind) {
  std::string text = "a@example.com, b@example.com, 123-45-6789";
  const PersonalDataCounts counts = mask_personal_data(text);
  EXPECT_EQ(counts.of(PersonalKind::kEmail), 2);
  EXPECT_EQ(counts.of(PersonalKind::kSsn), 1);
  EXPECT_EQ(counts.total(), 3);
  EXPECT_EQ(counts.words(), "2 e-mail addresses, 1 social security number");
}

TEST(PersonalDataTest, JsonStaysJson) {
  std::string calls =
      R"([{"function":{"arguments":"{\"card\":4111111111111111,\"to\":\"a@example.com\"}","name":"pay"},"id":"c1"}])";
  EXPECT_EQ(mask_personal_data_in_json(calls).total(), 2);
  EXPECT_EQ(calls, R"([{"function":{"arguments":"{\"card\":\"[CARD]\",\"to\":\"[EMAIL]\"}","name":"pay"},"id":"c1"}])");
  std::string keys = R"({"a@example.com":[1,2]})";
  EXPECT_EQ(mask_personal_data_in_json(keys).total(), 1);
  EXPECT_EQ(keys, R"({"[EMAIL]":[1,2]})");
}

TEST(PersonalDataTest, APromptIsMaskedInEveryPart) {
  Prompt prompt{{{Role::kUser, "I am a@example.com"},
                 {Role::kAssistant, "", R"([{"function":{"arguments":"{\"q\":\"a@example.com\"}","name":"f"}}])"},
                 {Role::kTool, "123-45-6789", "", "c1", "a@example.com"}},
                R"([{"description":"ask a@example.com"}])"};
  EXPECT_EQ(mask_personal_data(prompt).total(), 5);
  for (const Message& message : prompt.messages) {
    for (const std::string* part : {&message.content, &message.tool_calls, &message.name}) {
      EXPECT_EQ(part->find("example.com"), std::string::npos) << *part;
    }
  }
  EXPECT_EQ(prompt.tools, R"([{"description":"ask [EMAIL]"}])");
}

// Pieces that are found or nearly found, in any order: masking is stable, keeps UTF-8, and leaves nothing findable.
TEST(PersonalDataTest, MaskedTextIsMaskedNoFurther) {
  const std::vector<std::string> pieces = {"a@example.com",
                                           "@",
                                           "+1 ",
                                           "415-555-2671",
                                           "4111 1111 1111 1111",
                                           "://u:p@",
                                           "eyJ",
                                           "192.168.1.77",
                                           "::",
                                           "2001:db8::1",
                                           " ",
                                           ".",
                                           "-",
                                           "é",
                                           "汉",
                                           "\n",
                                           "Bearer ",
                                           key("sk-", 30),
                                           "-----BEGIN PRIVATE KEY-----",
                                           "DE89",
                                           "0",
                                           "(",
                                           "phone 0",
                                           "http",
                                           "_",
                                           "\"",
                                           "123-45-6789",
                                           "x"};
  Random random(11);
  for (int round = 0; round < 5000; ++round) {
    std::string text;
    const std::size_t count = 1 + random.below(12);
    for (std::size_t i = 0; i < count; ++i) text += pieces[random.below(pieces.size())];
    std::string once = text;
    mask_personal_data(once);
    std::string twice = once;
    mask_personal_data(twice);
    EXPECT_EQ(twice, once) << text;
    EXPECT_TRUE(is_valid_utf8(once)) << text;
    std::size_t before = 0;
    for (const PersonalDataSpan& span : find_personal_data(text)) {
      EXPECT_LE(before, span.begin);
      EXPECT_LT(span.begin, span.end);
      EXPECT_LE(span.end, text.size());
      before = span.end;
    }
  }
}

// What makes a scanner that looks ahead from every place slow. Ten megabytes each; a quadratic pass would take hours.
// A scanner that isn't linear doesn't come to the end of these in any test's time.
TEST(PersonalDataTest, TimeIsLinearInTheText) {
  for (const std::string& piece : {std::string("@"), std::string("a.@"), std::string("1-"), std::string("+1"),
                                   std::string("-----BEGIN PRIVATE KEY-----"), std::string("eyJa."), std::string("sk-"),
                                   std::string("a:"), std::string("://a:"), std::string("bearer "),
                                   std::string("DE89 "), std::string("1"), std::string("(1"), std::string("phone 0")}) {
    std::string text;
    while (text.size() < 2'000'000) text += piece;
    EXPECT_LE(find_personal_data(text).size(), text.size());
  }
}

}  // namespace
}  // namespace retort::collect
