#include "api/batch_results.h"

#include <gtest/gtest.h>

namespace retort::api {
namespace {

BatchState one(const std::string& body) {
  JsonReader reader;
  const auto states = read_batch_states(body, reader);
  EXPECT_EQ(states.size(), 1U) << body;
  return states.empty() ? BatchState{} : states.front();
}

TEST(BatchResults, ReadsOpenAisBatch) {
  const BatchState going = one(R"({"id":"batch_1","object":"batch","status":"in_progress","output_file_id":null,
                                   "usage":{"input_tokens":5,"output_tokens":1},"request_counts":{"completed":1}})");
  EXPECT_EQ(going.id, "batch_1");
  EXPECT_FALSE(going.ended);
  EXPECT_FALSE(going.usage) << "it may still grow";
  for (const char* status : {"completed", "expired", "cancelled", "failed"}) {
    const BatchState ended = one(
        std::string(R"({"id":"batch_1","object":"batch","output_file_id":"file-o","request_counts":{"completed":2},)") +
        R"("usage":{"input_tokens":50,"input_tokens_details":{"cached_tokens":20},"output_tokens":7,)" +
        R"("output_tokens_details":{"reasoning_tokens":3},"total_tokens":57},"status":")" + status + "\"}");
    EXPECT_TRUE(ended.ended) << status;
    EXPECT_EQ(ended.output_file, "file-o");
    ASSERT_TRUE(ended.usage);
    EXPECT_EQ(ended.usage->input, 50);
    EXPECT_EQ(ended.usage->cached, 20);
    EXPECT_EQ(ended.usage->output, 7);
    EXPECT_EQ(ended.usage->reasoning, 3);
  }
}

TEST(BatchResults, WhatNobodyCountedIsNotNothing) {
  EXPECT_FALSE(one(R"({"id":"b","object":"batch","status":"completed","output_file_id":"file-o",
                       "usage":{"input_tokens":0,"output_tokens":0},"request_counts":{"completed":2}})")
                   .usage);
  EXPECT_FALSE(one(R"({"id":"b","object":"batch","status":"expired","request_counts":{"completed":1}})").usage);
  EXPECT_FALSE(one(R"({"id":"b","object":"batch","status":"completed"})").usage);
  EXPECT_FALSE(
      one(R"({"id":"b","object":"batch","status":"completed","usage":{"input_tokens":9000000000000000000}})").usage);
  EXPECT_EQ(one(R"({"id":"b","object":"batch","status":"failed","errors":{}})").usage->input, 0);
  EXPECT_EQ(one(R"({"id":"b","object":"batch","status":"cancelled","request_counts":{"completed":0}})").usage->input,
            0);
}

TEST(BatchResults, ReadsAnthropicsBatchAndLists) {
  EXPECT_FALSE(one(R"({"id":"b","type":"message_batch","processing_status":"in_progress",
                       "request_counts":{"succeeded":0}})")
                   .ended);
  const BatchState ended =
      one(R"({"id":"b","type":"message_batch","processing_status":"ended","request_counts":{"succeeded":1}})");
  EXPECT_TRUE(ended.ended);
  EXPECT_FALSE(ended.usage);
  EXPECT_TRUE(one(R"({"id":"b","type":"message_batch","processing_status":"ended",
                      "request_counts":{"succeeded":0,"canceled":3}})")
                  .usage);
  JsonReader reader;
  const auto states = read_batch_states(
      R"({"object":"list","data":[{"id":"a","object":"batch","status":"failed"},7,{"id":"f","object":"file"},
          {"id":"c","object":"batch","status":"validating"}]})",
      reader);
  ASSERT_EQ(states.size(), 2U);
  EXPECT_EQ(states[1].id, "c");
  EXPECT_TRUE(read_batch_states("no JSON", reader).empty());
}

const std::string kChat =
    R"({"custom_id":"a","response":{"status_code":200,"body":{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"4"}}],"usage":{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18,"prompt_tokens_details":{"cached_tokens":4}}}},"error":null})";
const std::string kResponse =
    R"({"custom_id":"b","response":{"status_code":200,"body":{"object":"response","status":"completed","output":[],"usage":{"input_tokens":5,"output_tokens":2,"total_tokens":7,"output_tokens_details":{"reasoning_tokens":1}}}}})";
const std::string kEmbedding =
    R"({"custom_id":"c","response":{"status_code":200,"body":{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5]}],"usage":{"prompt_tokens":3,"total_tokens":3}}}})";
const std::string kMessage =
    R"({"custom_id":"d","result":{"type":"succeeded","message":{"type":"message","role":"assistant","content":[{"type":"text","text":"4"}],"usage":{"input_tokens":1,"cache_read_input_tokens":20,"cache_creation_input_tokens":3,"output_tokens":4}}}})";
const std::string kRefused =
    R"({"custom_id":"e","response":{"status_code":400,"body":{"error":{"message":"no","type":"invalid_request_error"}}}})"
    "\n"
    R"({"custom_id":"f","response":null,"error":{"code":"batch_expired"}})"
    "\n"
    R"({"custom_id":"g","result":{"type":"expired"}})";

TEST(BatchResults, AddsUpWhatAnswersUsed) {
  const std::string file = kChat + "\n" + kResponse + "\r\n\n" + kEmbedding + "\n" + kMessage + "\n" + kRefused;
  for (const std::size_t size : {std::size_t{1}, std::size_t{7}, file.size()}) {
    ResultUsage usage(std::make_shared<JsonReader>());
    for (std::size_t i = 0; i < file.size(); i += size) usage.feed(std::string_view(file).substr(i, size));
    const auto total = usage.total();
    ASSERT_TRUE(total);
    EXPECT_EQ(total->input, 11 + 5 + 3 + 24);
    EXPECT_EQ(total->cached, 4 + 20);
    EXPECT_EQ(total->cache_written, 3);
    EXPECT_EQ(total->output, 7 + 2 + 4);
    EXPECT_EQ(total->reasoning, 1);
  }
}

TEST(BatchResults, WhatCannotBeReadIsNoSum) {
  const std::string silent =
      R"({"response":{"body":{"object":"chat.completion","choices":[{"index":0,"message":{"content":"4"}}]}}})";
  const std::string huge =
      R"({"response":{"body":{"object":"chat.completion","choices":[],"usage":{"prompt_tokens":9000000000000000000}}}})";
  for (const std::string& bad : {silent, huge, std::string("no JSON"), kChat.substr(0, 60)}) {
    ResultUsage usage(std::make_shared<JsonReader>());
    usage.feed(kChat + "\n" + bad);
    EXPECT_FALSE(usage.total()) << bad;
  }
}

}  // namespace
}  // namespace retort::api
