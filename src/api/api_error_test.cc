#include "api/api_error.h"

#include <gtest/gtest.h>

namespace retort::api {
namespace {

std::string header(const net::HttpResponse& response, std::string_view name) {
  return std::string(response.headers.find(name).value_or("absent"));
}

TEST(ApiError, HasTheFormOfOpenAi) {
  const net::HttpResponse response = error_response(Family::kOpenAi,
                                                    {.status = 429,
                                                     .message = "Too \"many\".",
                                                     .code = "rate_limit_exceeded",
                                                     .param = {},
                                                     .retry = true,
                                                     .retry_after_s = 1.2},
                                                    "req_1");
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(
      response.body,
      R"({"error":{"message":"Too \"many\".","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"}})");
  EXPECT_EQ(header(response, "content-type"), "application/json");
  EXPECT_EQ(header(response, "x-should-retry"), "true");
  EXPECT_EQ(header(response, "retry-after"), "2");
  EXPECT_EQ(header(response, "retry-after-ms"), "1200");
  EXPECT_EQ(header(response, "x-request-id"), "req_1");
  EXPECT_EQ(header(response, "request-id"), "absent");
}

TEST(ApiError, HasTheFormOfAnthropic) {
  const net::HttpResponse response = error_response(
      Family::kAnthropic,
      {.status = 403, .message = "No.", .code = "policy_denied", .param = "model", .retry = false, .retry_after_s = 0},
      "req_2");
  EXPECT_EQ(response.body,
            R"({"type":"error","error":{"type":"permission_error","message":"No."},"request_id":"req_2"})");
  EXPECT_EQ(header(response, "x-should-retry"), "false");
  EXPECT_EQ(header(response, "retry-after"), "absent");
  EXPECT_EQ(header(response, "request-id"), "req_2");
}

TEST(ApiError, TakesTheTypeFromTheStatus) {
  EXPECT_EQ(error_type(Family::kOpenAi, 400), "invalid_request_error");
  EXPECT_EQ(error_type(Family::kOpenAi, 401), "authentication_error");
  EXPECT_EQ(error_type(Family::kOpenAi, 404), "not_found_error");
  EXPECT_EQ(error_type(Family::kOpenAi, 502), "server_error");
  EXPECT_EQ(error_type(Family::kAnthropic, 402), "billing_error");
  EXPECT_EQ(error_type(Family::kAnthropic, 413), "request_too_large");
  EXPECT_EQ(error_type(Family::kAnthropic, 429), "rate_limit_error");
  EXPECT_EQ(error_type(Family::kAnthropic, 500), "api_error");
  EXPECT_EQ(error_type(Family::kAnthropic, 504), "timeout_error");
  EXPECT_EQ(error_type(Family::kAnthropic, 529), "overloaded_error");
}

TEST(ApiError, EndsAStreamInItsDialect) {
  ApiError error;
  error.status = 502;
  error.message = "The upstream broke off.\nIt may be asked again.";
  error.code = "upstream_failed";
  const std::string openai =
      "data: {\"error\":{\"message\":\"The upstream broke off.\\nIt may be asked again.\",\"type\":\"server_error\","
      "\"param\":null,\"code\":\"upstream_failed\"}}\n\n";
  EXPECT_EQ(error_event(Operation::kChat, error, "req_1"), openai);
  EXPECT_EQ(error_event(Operation::kCompletions, error, "req_1"), openai);
  EXPECT_EQ(error_event(Operation::kResponses, error, "req_1", 7),
            "event: error\ndata: {\"type\":\"error\",\"code\":\"upstream_failed\",\"message\":\"The upstream broke "
            "off.\\nIt may "
            "be asked again.\",\"param\":null,\"sequence_number\":8}\n\n");
  EXPECT_EQ(error_event(Operation::kMessages, error, "req_1"),
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"The upstream "
            "broke off.\\nIt "
            "may be asked again.\"},\"request_id\":\"req_1\"}\n\n");
}

TEST(ApiError, SaysBytesThatAreNoTextAsWellAsItCan) {
  ApiError error;
  error.message = "a\xFF";
  EXPECT_EQ(
      error_response(Family::kOpenAi, error, "").body,
      "{\"error\":{\"message\":\"a\xEF\xBF\xBD\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":null}}");
}

}  // namespace
}  // namespace retort::api
