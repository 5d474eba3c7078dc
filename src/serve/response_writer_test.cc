#include "serve/response_writer.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "serve/api_error.h"

namespace retort::serve {
namespace {

GenerationRequest request_of(Endpoint endpoint) {
  GenerationRequest request;
  request.endpoint = endpoint;
  request.model = "m";
  request.top_logprobs = 2;
  return request;
}

ShownToken half() {
  return {.id = 5, .bytes = "\xe2\x96", .logprob = -1.5, .top = {{"a", -0.5}, {"\xe2\x96", -1.5}}, .text_offset = 3};
}

TEST(ResponseWriterTest, AnErrorHasItsFourKeys) {
  const Json bare = to_json(bad_request("Why."));
  EXPECT_EQ(bare,
            Json::parse(R"({"error":{"message":"Why.","type":"invalid_request_error","param":null,"code":null}})"));
  const net::HttpResponse response = response_of(unavailable("Later.", "busy"));
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.headers.find("retry-after"), "1");
}

TEST(ResponseWriterTest, AWholeChat) {
  const ResponseWriter writer(request_of(Endpoint::kChat), "1", 7);
  const Json whole = writer.whole({{.index = 0, .text = "hi", .tokens = {half()}, .finish_reason = "stop"}}, {3, 4});
  EXPECT_EQ(whole["id"], "chatcmpl-1");
  EXPECT_EQ(whole["object"], "chat.completion");
  EXPECT_EQ(whole["created"], 7);
  EXPECT_EQ(whole["usage"], Json::parse(R"({"prompt_tokens":3,"completion_tokens":4,"total_tokens":7})"));
  EXPECT_EQ(whole["choices"][0], Json::parse(R"({"index":0,"finish_reason":"stop",
    "message":{"role":"assistant","content":"hi","refusal":null},
    "logprobs":{"refusal":null,"content":[{"token":"bytes:\\xe2\\x96","logprob":-1.5,"bytes":[226,150],"top_logprobs":[
      {"token":"a","logprob":-0.5,"bytes":[97]},{"token":"bytes:\\xe2\\x96","logprob":-1.5,"bytes":[226,150]}]}]}})"));
}

TEST(ResponseWriterTest, AWholeCompletion) {
  const ResponseWriter writer(request_of(Endpoint::kCompletions), "1", 7);
  ShownToken first{.id = 1, .bytes = "x"};
  const Json whole =
      writer.whole({{.index = 0, .text = "hi", .tokens = {first, half()}, .finish_reason = "length"}}, {3, 4});
  EXPECT_EQ(whole["object"], "text_completion");
  EXPECT_EQ(whole["choices"][0], Json::parse(R"({"index":0,"finish_reason":"length","text":"hi","logprobs":{
    "tokens":["x","bytes:\\xe2\\x96"],"token_logprobs":[null,-1.5],"top_logprobs":[null,{"a":-0.5,"bytes:\\xe2\\x96":-1.5}],
    "text_offset":[0,3]}})"));
}

TEST(ResponseWriterTest, Chunks) {
  GenerationRequest request = request_of(Endpoint::kChat);
  request.top_logprobs.reset();
  request.include_usage = true;
  request.return_token_ids = true;
  const ResponseWriter writer(request, "1", 7);
  const Json first = writer.chunk({.index = 1, .prompt_ids = std::vector<TokenId>{8}, .first = true});
  EXPECT_EQ(first["object"], "chat.completion.chunk");
  EXPECT_TRUE(first["usage"].is_null());
  EXPECT_EQ(first["choices"][0], Json::parse(R"({"index":1,"delta":{"role":"assistant","content":""},"logprobs":null,
    "finish_reason":null,"token_ids":[],"prompt_token_ids":[8]})"));
  EXPECT_EQ(writer.chunk({.index = 1, .text = "a", .ids = {5}})["choices"][0]["delta"],
            Json::parse(R"({"content":"a"})"));
  EXPECT_EQ(writer.chunk({.index = 1, .finish_reason = "stop"})["choices"][0]["delta"], Json::object());
  const Json usage = writer.usage_chunk({1, 2});
  EXPECT_EQ(usage["choices"], Json::array());
  EXPECT_EQ(usage["usage"]["total_tokens"], 3);
}

}  // namespace
}  // namespace retort::serve
