#include "guard/authz.h"

#include <gmock/gmock.h>

#include "base/json.h"

namespace retort::guard {
namespace {

using testing::HasSubstr;

net::HttpRequest question() {
  net::HttpRequest asked;
  asked.method = "GET";
  asked.path = "/";
  asked.peer = "127.0.0.1";
  asked.headers.add("X-Original-Method", "POST");
  asked.headers.add("X-Original-URI", "/v1/models?beta=true");
  asked.headers.add("Authorization", "Bearer x");
  return asked;
}

TEST(Authz, TheQuestionIsAboutTheOriginalRequest) {
  const auto request = original_request(question());
  ASSERT_TRUE(request);
  EXPECT_EQ(request->method, "POST");
  EXPECT_EQ(request->path, "/v1/models");
  EXPECT_EQ(request->query, "beta=true");
  EXPECT_EQ(request->peer, "127.0.0.1");
  EXPECT_EQ(request->headers.find("authorization"), "Bearer x");
  EXPECT_FALSE(request->headers.find("x-original-uri"));
}

TEST(Authz, TwoMethodsOrNoPathAreNoQuestion) {
  net::HttpRequest asked = question();
  asked.headers.add("x-original-method", "GET");
  EXPECT_THAT(original_request(asked).error().message, HasSubstr("one of each"));
  asked = question();
  asked.headers.add("x-original-uri", "/v1/models");
  EXPECT_FALSE(original_request(asked));
  EXPECT_FALSE(original_request(net::HttpRequest()));
}

TEST(Authz, RefusalsCarryWhatTheCallerIsToSee) {
  Admission admission;
  admission.id = "0123";
  admission.account = "a\nb";
  admission.route.family = api::Family::kAnthropic;
  admission.refused = api::ApiError{.status = 429,
                                    .message = "Too fast: \xC3\xA4.",
                                    .code = "rate_limit_exceeded",
                                    .param = {},
                                    .retry = true,
                                    .retry_after_s = 1.5};
  const net::HttpResponse answer = auth_request_answer(admission);
  EXPECT_EQ(answer.status, 403);
  EXPECT_EQ(answer.headers.find("x-retort-status"), "429");
  EXPECT_EQ(answer.headers.find("x-retort-account"), "a?b");
  EXPECT_EQ(answer.headers.find("x-should-retry"), "true");
  EXPECT_EQ(answer.headers.find("retry-after"), "2");
  EXPECT_EQ(answer.headers.find("retry-after-ms"), "1500");
  const std::string body(answer.headers.find("x-retort-body").value());
  EXPECT_THAT(body, HasSubstr("\\u00e4"));
  EXPECT_EQ(Json::parse(body)["error"]["type"], "rate_limit_error");
  admission.refused->status = 401;
  EXPECT_EQ(auth_request_answer(admission).status, 401);
}

TEST(Authz, AdmittedIsSaidWithWhatWasLeftUndecided) {
  Admission admission;
  admission.tier = "verified";
  admission.undecided = {"models", "n"};
  const net::HttpResponse answer = auth_request_answer(admission);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.headers.find("x-retort-tier"), "verified");
  EXPECT_EQ(answer.headers.find("x-retort-undecided"), "models, n");
  EXPECT_FALSE(answer.headers.find("x-retort-status"));
}

}  // namespace
}  // namespace retort::guard
