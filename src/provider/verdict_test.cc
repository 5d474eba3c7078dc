#include "provider/verdict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "net/testing.h"

namespace retort::provider {
namespace {

using Kind = Verdict::Kind;
using ::testing::HasSubstr;
using ::testing::Not;

Verdict of(const net::HttpOutcome& outcome) {
  return judge(openai_chat(), outcome, told_limits(outcome.headers, 0), "http://127.0.0.1:1/v1", "sk-0123456789");
}

TEST(VerdictTest, EveryStatusHasOne) {
  for (int status = 300; status < 600; ++status) {
    const Verdict verdict = of(net::json_outcome(status, R"({"error":{"message":"m"}})"));
    Kind expected = Kind::kGiveUp;
    if (status < 400 || (status >= 401 && status <= 404)) expected = Kind::kStop;
    if (status == 408 || status == 409 || status == 425 || status == 429 || status >= 500) expected = Kind::kRetry;
    EXPECT_EQ(static_cast<int>(verdict.kind), static_cast<int>(expected)) << status;
    EXPECT_FALSE(verdict.sentence.empty()) << status;
    EXPECT_FALSE(verdict.maybe_billed) << status;
    EXPECT_EQ(verdict.congested, status == 429 || status == 503 || status == 529) << status;
  }
}

TEST(VerdictTest, TheServiceSaysWhetherToTryAgain) {
  net::HttpOutcome outcome = net::json_outcome(500, "{}");
  outcome.headers.add("x-should-retry", "false");
  EXPECT_EQ(of(outcome).kind, Kind::kGiveUp);
  net::HttpOutcome limited = net::json_outcome(429, "{}");
  limited.headers.add("x-should-retry", "false");
  EXPECT_EQ(of(limited).kind, Kind::kStop);
  net::HttpOutcome bad = net::json_outcome(400, "{}");
  bad.headers.add("x-should-retry", "true");
  EXPECT_EQ(of(bad).kind, Kind::kRetry);
  net::HttpOutcome denied = net::json_outcome(403, "{}");
  denied.headers.add("x-should-retry", "true");
  EXPECT_EQ(of(denied).kind, Kind::kStop) << "a denial stays one";
}

TEST(VerdictTest, TheKeyIsInNoSentence) {
  for (const int status : {400, 401, 402, 403, 404, 429, 500}) {
    const Verdict verdict = of(net::json_outcome(
        status, R"({"error":{"message":"Incorrect key sk-0123456789 given, sk-0123456789!","type":"t"}})"));
    EXPECT_THAT(verdict.sentence, Not(HasSubstr("sk-0123456789"))) << status;
  }
}

TEST(VerdictTest, BothErrorFormsAreRead) {
  EXPECT_EQ(api_error(R"({"error":{"message":"m","type":"t","param":null,"code":"c"}})").code, "c");
  EXPECT_EQ(api_error(R"({"type":"error","error":{"type":"overloaded_error","message":"m"}})").type,
            "overloaded_error");
  EXPECT_EQ(api_error(R"({"error":"just words"})").message, "just words");
  EXPECT_EQ(api_error(R"({"detail":"of FastAPI"})").message, "of FastAPI");
  EXPECT_EQ(api_error("<html>").message, "");
  EXPECT_EQ(of(net::json_outcome(400, R"({"type":"error","error":{"type":"billing_error","message":"m"}})")).kind,
            Kind::kStop);
}

TEST(VerdictTest, TroubleOnTheWayIsTriedAgainButNotAnUntrustedCertificate) {
  for (const net::Trouble trouble : {net::Trouble::kConnect, net::Trouble::kCut, net::Trouble::kTimeout,
                                     net::Trouble::kTooLarge, net::Trouble::kProtocol}) {
    net::HttpOutcome outcome;
    outcome.trouble = trouble;
    const Verdict verdict = of(outcome);
    EXPECT_EQ(verdict.kind, Kind::kRetry);
    EXPECT_EQ(verdict.maybe_billed, trouble != net::Trouble::kConnect);
  }
  net::HttpOutcome outcome;
  outcome.trouble = net::Trouble::kTls;
  EXPECT_EQ(of(outcome).kind, Kind::kStop);
}

}  // namespace
}  // namespace retort::provider
