#include "extauthz/check_form.h"

#include <gmock/gmock.h>

#include "base/json.h"

namespace retort::extauthz {
namespace {

using testing::Contains;
using testing::Not;

CheckRequest asked() {
  CheckRequest request;
  request.mutable_attributes()->mutable_source()->mutable_address()->mutable_socket_address()->set_address("192.0.2.7");
  auto* http = request.mutable_attributes()->mutable_request()->mutable_http();
  http->set_method("POST");
  http->set_path("/v1/messages?beta=true");
  (*http->mutable_headers())[":path"] = "/v1/messages?beta=true";
  (*http->mutable_headers())["x-api-key"] = "rg_x";
  (*http->mutable_headers())["x-retort-end-customer"] = "somebody";
  (*http->mutable_headers())["user-agent"] = "caf\xE9";  // not UTF-8
  http->set_raw_body("{\"model\":\"\xFF\"}");
  return request;
}

guard::Admission admitted(const std::string& key) {
  auto rules = std::make_shared<guard::Rules>();
  rules->upstreams.push_back({.options = {}, .family = api::Family::kAnthropic, .origin = {}, .key = key});
  rules->upstreams.back().options.name = "main";
  auto in_force = std::make_shared<guard::InForce>();
  in_force->rules = rules;
  guard::Admission admission;
  admission.id = "0123";
  admission.account = "acme";
  admission.upstream = rules->upstreams.data();
  admission.in_force = std::move(in_force);
  return admission;
}

std::vector<std::string> removed(const CheckResponse& answer) {
  return {answer.ok_response().headers_to_remove().begin(), answer.ok_response().headers_to_remove().end()};
}

TEST(CheckForm, QuestionsSurviveTheWire) {
  CheckRequest read;
  ASSERT_TRUE(read.ParseFromString(asked().SerializeAsString()));
  const auto question = question_of(read);
  ASSERT_TRUE(question);
  EXPECT_EQ(question->request.method, "POST");
  EXPECT_EQ(question->request.path, "/v1/messages");
  EXPECT_EQ(question->request.query, "beta=true");
  EXPECT_EQ(question->request.peer, "192.0.2.7");
  EXPECT_EQ(question->request.body, "{\"model\":\"\xFF\"}");
  EXPECT_EQ(question->request.headers.find("user-agent"), "caf\xE9");
  EXPECT_FALSE(question->request.headers.find(":path"));
  EXPECT_FALSE(question->partial);
}

// Bytes as the published numbering has them: attributes(1).request(4).http(2), method 2, path 4.
TEST(CheckForm, TheNumbersAreEnvoys) {
  const std::string bytes = "\x0A\x0E\x22\x0C\x12\x0A\x12\x03GET\x22\x03/v1";
  CheckRequest read;
  ASSERT_TRUE(read.ParseFromString(bytes));
  EXPECT_EQ(question_of(read)->request.method, "GET");
  EXPECT_EQ(question_of(read)->request.path, "/v1");
  CheckResponse answer;
  write_refusal(api::Family::kOpenAi, {.status = 429, .message = "x", .code = {}, .param = {}}, "", answer);
  // status(1).code(1) = 7, denied_response(2).status(1).code(1) = 429
  const std::string begins = "\x0A\x02\x08\x07\x12";
  const std::string written = answer.SerializeAsString();
  EXPECT_EQ(written.substr(0, begins.size()), begins);
  EXPECT_THAT(written, testing::HasSubstr(std::string("\x0A\x03\x08\xAD\x03", 5)));
}

TEST(CheckForm, AQuestionAboutNothingIsRefused) { EXPECT_FALSE(question_of(CheckRequest())); }

TEST(CheckForm, APartOfABodyIsTold) {
  CheckRequest request = asked();
  auto& headers = *request.mutable_attributes()->mutable_request()->mutable_http()->mutable_headers();
  headers["x-envoy-auth-partial-body"] = "false";
  EXPECT_FALSE(question_of(request)->partial);
  headers["x-envoy-auth-partial-body"] = "true";
  EXPECT_TRUE(question_of(request)->partial);
}

TEST(CheckForm, TheProvidersKeyGoesInAndTheCallersOut) {
  const auto question = question_of(asked());
  CheckResponse answer;
  write_answer(admitted("provider"), question->request, answer);
  EXPECT_EQ(answer.status().code(), 0);
  ASSERT_EQ(answer.ok_response().headers_size(), 1);
  EXPECT_EQ(answer.ok_response().headers(0).header().key(), "x-api-key");
  EXPECT_EQ(answer.ok_response().headers(0).header().value(), "provider");
  EXPECT_TRUE(answer.ok_response().headers(0).has_append());
  EXPECT_THAT(removed(answer), Contains("authorization"));
  EXPECT_THAT(removed(answer), Contains("x-retort-end-customer"));
  EXPECT_THAT(removed(answer), Not(Contains("x-api-key")));
  EXPECT_EQ(answer.dynamic_metadata().fields().at("account").string_value(), "acme");
}

TEST(CheckForm, WithoutAProvidersKeyTheCallersIsTakenOut) {
  const auto question = question_of(asked());
  CheckResponse answer;
  write_answer(admitted(""), question->request, answer);
  EXPECT_EQ(answer.ok_response().headers_size(), 0);
  EXPECT_THAT(removed(answer), Contains("x-api-key"));
}

TEST(CheckForm, NoKeyGoesInWhereItMayBeAnothersUpstream) {
  guard::Admission admission = admitted("provider");
  auto rules = std::make_shared<guard::Rules>(*admission.in_force->rules);
  rules->upstreams.push_back(guard::Upstream(rules->upstreams.front()));
  admission.upstream = rules->upstreams.data();
  auto in_force = std::make_shared<guard::InForce>();
  in_force->rules = rules;
  admission.in_force = in_force;
  CheckResponse answer;
  write_answer(admission, question_of(asked())->request, answer);
  EXPECT_EQ(answer.ok_response().headers_size(), 0);
  EXPECT_THAT(removed(answer), Contains("x-api-key"));
}

TEST(CheckForm, RefusalsAreInTheFormOfTheApi) {
  guard::Admission admission = admitted("provider");
  admission.route.family = api::Family::kAnthropic;
  admission.refused =
      api::ApiError{.status = 429, .message = "Too fast.", .code = {}, .param = {}, .retry = true, .retry_after_s = 2};
  CheckResponse answer;
  write_answer(admission, {}, answer);
  EXPECT_NE(answer.status().code(), 0);
  EXPECT_EQ(answer.denied_response().status().code(), 429);
  EXPECT_EQ(Json::parse(answer.denied_response().body())["error"]["type"], "rate_limit_error");
  std::map<std::string, std::string> headers;
  for (const auto& option : answer.denied_response().headers())
    headers[option.header().key()] = option.header().value();
  EXPECT_EQ(headers["x-should-retry"], "true");
  EXPECT_EQ(headers["retry-after"], "2");
  EXPECT_EQ(headers["content-type"], "application/json");
}

TEST(CheckForm, Peers) {
  EXPECT_EQ(address_of_peer("ipv4:127.0.0.1:4711"), "127.0.0.1");
  EXPECT_EQ(address_of_peer("ipv6:[::1]:4711"), "::1");
  EXPECT_EQ(address_of_peer("ipv6:%5B::1%5D:4711"), "::1");
  EXPECT_EQ(address_of_peer("unix:/run/x"), "unix");
  EXPECT_EQ(address_of_peer("unix:"), "unix");
  EXPECT_EQ(address_of_peer("nonsense"), "");
}

}  // namespace
}  // namespace retort::extauthz
