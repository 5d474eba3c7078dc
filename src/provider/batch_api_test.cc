#include "provider/batch_api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "base/json.h"
#include "net/testing.h"

namespace retort::provider {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::vector<BatchResult> results(const BatchApi& api, std::string_view lines) {
  std::vector<BatchResult> all;
  EXPECT_TRUE(api.for_each_result(lines, [&](BatchResult result) -> Result<void> {
    all.push_back(std::move(result));
    return {};
  }));
  return all;
}

TEST(BatchApiTest, TheIdOfARequestTellsItsSlotAndItsBatch) {
  const std::string id = batch_request_id("rt0123456789abcdef01234567", 49'999'999);
  EXPECT_LE(id.size(), 64U);
  EXPECT_EQ(slot_of_batch_request("rt0123456789abcdef01234567", id), 49'999'999);
  EXPECT_EQ(slot_of_batch_request("rtother", id), -1);
  for (const char* bad : {"n-", "n--1", "n-1x", "n1", "", "n- 1"})
    EXPECT_EQ(slot_of_batch_request("n", bad), -1) << bad;
}

TEST(OpenAiBatchesTest, RequestsAreAFileOfLinesInAForm) {
  const BatchApi& api = openai_batches();
  std::string body = api.open("name");
  api.add(openai_chat(), "name-0", R"({"model":"m"})", body);
  api.add(openai_chat(), "name-1", R"({"model":"m"})", body);
  api.close("name", body);
  EXPECT_EQ(body,
            "--retort-name\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n"
            "--retort-name\r\nContent-Disposition: form-data; name=\"file\"; filename=\"name.jsonl\"\r\n"
            "Content-Type: application/jsonl\r\n\r\n"
            R"({"custom_id":"name-0","method":"POST","url":"/v1/chat/completions","body":{"model":"m"}})"
            "\n"
            R"({"custom_id":"name-1","method":"POST","url":"/v1/chat/completions","body":{"model":"m"}})"
            "\n\r\n--retort-name--\r\n");
  const net::HttpCall call = authorised(api.upload("name", body), openai_chat(), "https://h/v1", "sk-key");
  EXPECT_EQ(call.url, "https://h/v1/files");
  EXPECT_EQ(call.method, "POST");
  EXPECT_EQ(call.headers.find("Content-Type"), "multipart/form-data; boundary=retort-name");
  EXPECT_EQ(call.headers.find("Authorization"), "Bearer sk-key");
  EXPECT_EQ(*api.uploaded(net::json_outcome(200, R"({"id":"file-1","purpose":"batch"})")), "file-1");
  EXPECT_FALSE(api.uploaded(net::json_outcome(200, "{}")));
}

TEST(OpenAiBatchesTest, ABatchNamesItsFileAndUs) {
  const net::HttpCall call = openai_batches().create(openai_responses(), "name", "file-1", "");
  EXPECT_EQ(call.url, "/batches");
  EXPECT_EQ(Json::parse(call.body), Json({{"input_file_id", "file-1"},
                                          {"endpoint", "/v1/responses"},
                                          {"completion_window", "24h"},
                                          {"metadata", {{"retort_batch", "name"}}}}));
}

TEST(OpenAiBatchesTest, ItsStatesAreRead) {
  const BatchApi& api = openai_batches();
  const auto busy = api.state(
      R"({"id":"b","status":"finalizing","output_file_id":null,"metadata":{"retort_batch":"n"},"request_counts":{"total":7}})");
  ASSERT_TRUE(busy);
  EXPECT_FALSE(busy->ended);
  EXPECT_EQ(busy->name, "n");
  EXPECT_EQ(busy->requests, 7);
  EXPECT_TRUE(busy->results.empty());
  for (const char* status : {"completed", "expired", "cancelled"}) {
    const auto done =
        api.state(std::string(R"({"id":"b","output_file_id":"o","error_file_id":"e","status":")") + status + "\"}");
    ASSERT_TRUE(done);
    EXPECT_TRUE(done->ended && !done->refused);
    EXPECT_THAT(done->results, ::testing::ElementsAre("/files/o/content", "/files/e/content"));
  }
  const auto failed = api.state(
      R"({"id":"b","status":"failed","errors":{"data":[{"code":"token_limit_exceeded","message":"Too many."}]}})");
  ASSERT_TRUE(failed);
  EXPECT_TRUE(failed->ended && failed->refused);
  EXPECT_EQ(failed->why, "Too many. (token_limit_exceeded)");
  EXPECT_FALSE(api.state("{}"));
  EXPECT_FALSE(api.state("<html>"));
  const auto page =
      api.page(R"({"data":[{"id":"b2","status":"completed"},{"id":"b1","status":"failed"}],"has_more":true})");
  ASSERT_TRUE(page);
  EXPECT_EQ(page->batches.size(), 2U);
  EXPECT_EQ(page->next, "/batches?limit=100&after=b1");
  EXPECT_EQ(api.page(R"({"data":[]})")->next, "");
}

TEST(OpenAiBatchesTest, ALineIsWhatWouldHaveComeByItself) {
  const auto all =
      results(openai_batches(),
              R"({"custom_id":"n-0","response":{"status_code":200,"request_id":"r","body":{"id":"c"}},"error":null}

{"custom_id":"n-1","response":{"status_code":400,"body":{"error":{"message":"bad"}}}}
{"custom_id":"n-2","response":null,"error":{"code":"batch_expired","message":"late"}}
{"custom_id":"n-3","response":null,"error":{"code":"server_error","message":"oops"}})");
  ASSERT_EQ(all.size(), 4U);
  EXPECT_EQ(all[0].outcome.status, 200);
  EXPECT_EQ(all[0].outcome.headers.find("x-request-id"), "r");
  EXPECT_EQ(all[0].outcome.body, R"({"id":"c"})");
  EXPECT_EQ(all[1].outcome.status, 400);
  EXPECT_EQ(api_error(all[1].outcome.body).message, "bad");
  EXPECT_EQ(all[2].lapsed, "expired");
  EXPECT_EQ(all[3].outcome.status, 500);
  int seen = 0;
  EXPECT_FALSE(openai_batches().for_each_result("{\"custom_id\":\"n-0\"}\nhalf a li", [&](BatchResult) -> Result<void> {
    ++seen;
    return {};
  }));
  EXPECT_EQ(seen, 1) << "what comes before the damage counts";
}

TEST(AnthropicBatchesTest, RequestsAreInTheCallAndResultsAreLines) {
  const BatchApi& api = anthropic_batches();
  std::string body = api.open("name");
  api.add(anthropic_messages(), "name-0", R"({"model":"m"})", body);
  api.add(anthropic_messages(), "name-1", R"({"model":"m"})", body);
  api.close("name", body);
  const net::HttpCall call =
      authorised(api.create(anthropic_messages(), "name", "", body), anthropic_messages(), "https://h/v1", "key");
  EXPECT_EQ(call.url, "https://h/v1/messages/batches");
  EXPECT_EQ(call.headers.find("x-api-key"), "key");
  EXPECT_EQ(call.headers.find("Content-Type"), "application/json");
  EXPECT_EQ(Json::parse(call.body), Json({{"requests",
                                           {{{"custom_id", "name-0"}, {"params", {{"model", "m"}}}},
                                            {{"custom_id", "name-1"}, {"params", {{"model", "m"}}}}}}}));

  const auto state = api.state(
      R"({"id":"msgbatch_1","processing_status":"ended","request_counts":{"processing":0,"succeeded":2,"errored":1,"canceled":1,"expired":1},"results_url":"https://elsewhere/x"})");
  ASSERT_TRUE(state);
  EXPECT_TRUE(state->ended);
  EXPECT_EQ(state->requests, 5);
  ASSERT_EQ(state->results.size(), 1U);
  EXPECT_EQ(state->results[0], "/messages/batches/msgbatch_1/results") << "the key goes nowhere else";

  const auto all = results(api, R"({"custom_id":"n-0","result":{"type":"succeeded","message":{"id":"c"}}}
{"custom_id":"n-1","result":{"type":"errored","error":{"type":"error","error":{"type":"invalid_request_error","message":"bad"}}}}
{"custom_id":"n-2","result":{"type":"errored","error":{"type":"overloaded_error","message":"busy"}}}
{"custom_id":"n-3","result":{"type":"canceled"}}
{"custom_id":"n-4","result":{"type":"expired"}})");
  ASSERT_EQ(all.size(), 5U);
  EXPECT_EQ(all[0].outcome.status, 200);
  EXPECT_EQ(all[1].outcome.status, 400);
  EXPECT_EQ(api_error(all[1].outcome.body).message, "bad");
  EXPECT_EQ(all[2].outcome.status, 529);
  EXPECT_EQ(all[3].lapsed, "canceled");
  EXPECT_EQ(all[4].lapsed, "expired");
}

}  // namespace
}  // namespace retort::provider
