#include "api/batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace retort::api {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string line(const std::string& body, const std::string& url = "/v1/chat/completions") {
  return R"({"custom_id":"a","method":"POST","url":")" + url + R"(","body":)" + body + "}";
}

Result<std::optional<std::string>> pass(const BatchRequest&) { return std::optional<std::string>(); }

TEST(Batch, HandsOverEachLineAndKeepsTheBytesOfOthers) {
  const std::string file =
      line(R"({"model":"a"})") + "\n\n" + line(R"({"model": "b"})") + "\r\n" + line(R"({"model":"c"})");
  std::vector<std::string> seen;
  const auto read = read_batch_file(file, [&](const BatchRequest& request) -> Result<std::optional<std::string>> {
    EXPECT_EQ(request.operation, Operation::kChat);
    seen.push_back(std::to_string(request.number) + " " + std::string(request.body));
    if (request.number != 3) return std::optional<std::string>();
    return std::optional<std::string>("{}");
  });
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_THAT(seen, ElementsAre(R"(1 {"model":"a"})", R"(3 {"model": "b"})", R"(4 {"model":"c"})"));
  EXPECT_EQ(read->requests, 3U);
  EXPECT_EQ(read->path, "/v1/chat/completions");
  EXPECT_EQ(read->changed, line(R"({"model":"a"})") + "\n\n" + line("{}") + "\r\n" + line(R"({"model":"c"})"));
  EXPECT_EQ(read_batch_file(file, pass)->changed, "");
}

TEST(Batch, NamesTheLineThatCannotBeRead) {
  const std::vector<std::string> bad = {"[]",
                                        "{",
                                        line("{}") + line("{}"),
                                        line("[]"),
                                        R"({"method":"POST","url":"/v1/chat/completions"})",
                                        R"({"method":"GET","url":"/v1/chat/completions","body":{}})",
                                        line("{}", "/v1/files"),
                                        line("{}", "/v1/../v1/chat/completions"),
                                        line("{}", "/v1/responses"),
                                        R"({"method":"POST","url":"/v1/chat/completions","body":{},"b\u006fdy":{}})",
                                        "{\"a\":\"\xff\"}"};
  for (const std::string& second : bad) {
    const auto read = read_batch_file(line("{}") + "\n" + second, pass);
    ASSERT_FALSE(read) << second;
    EXPECT_THAT(read.error().message, HasSubstr("Line 2 of the batch")) << second;
    EXPECT_EQ(read.error().fault, Fault::kCaller);
  }
  EXPECT_FALSE(read_batch_file("\n \n", pass));
}

TEST(Batch, ReadsAListOfRequests) {
  const std::string body = R"({"requests": [{"custom_id":"a","params":{"model":"m"}}, {"params":{"model":"n"}}]})";
  const auto read = read_batch_list(body, [](const BatchRequest& request) -> Result<std::optional<std::string>> {
    EXPECT_EQ(request.operation, Operation::kMessages);
    if (request.number == 1) return std::optional<std::string>();
    return std::optional<std::string>(R"({"model":"o"})");
  });
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->requests, 2U);
  EXPECT_EQ(read->changed, R"({"requests": [{"custom_id":"a","params":{"model":"m"}}, {"params":{"model":"o"}}]})");
  for (const char* bad :
       {R"({"requests":[]})", R"({})", R"({"requests":[{"params":{}},7]})", R"({"requests":[{"custom_id":"a"}]})",
        R"({"requests":[{"params":{}}],"requests":[]})", R"({"requests":[{"params":{},"params":{}}]})"}) {
    EXPECT_FALSE(read_batch_list(bad, pass)) << bad;
  }
}

TEST(Batch, ReadsAnOrder) {
  const auto order =
      read_batch_order(R"({"input_file_id":"file-1","endpoint":"/v1/responses","completion_window":"24h"})");
  ASSERT_TRUE(order);
  EXPECT_EQ(order->file, "file-1");
  EXPECT_EQ(order->path, "/v1/responses");
  EXPECT_FALSE(read_batch_order(R"({"input_file_id":"file-1","input_file_id":"file-2","endpoint":"/v1/responses"})"));
  EXPECT_FALSE(read_batch_order(R"({"endpoint":"/v1/responses"})"));
}

TEST(Batch, EditsTheAnswersInResults) {
  AnswerEdits edits;
  edits.strip_reasoning = true;
  edits.seal = [](std::string_view) { return std::string(); };
  const auto reader = std::make_shared<JsonReader>();
  const std::string openai =
      R"({"id":"b","custom_id":"a","response":{"status_code":200,"body":{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"4","reasoning_content":"hidden"}}]}},"error":null})";
  const std::string shown = edited_result(openai, edits, reader);
  EXPECT_THAT(shown, HasSubstr(R"("content":"4")"));
  EXPECT_THAT(shown, ::testing::Not(HasSubstr("hidden")));
  EXPECT_THAT(shown, ::testing::StartsWith(R"({"id":"b","custom_id":"a","response":{"status_code":200,)"));
  const std::string anthropic =
      R"({"custom_id":"a","result":{"type":"succeeded","message":{"type":"message","content":[{"type":"thinking","thinking":"hidden","signature":"BLOB"},{"type":"text","text":"4"}]}}})";
  const std::string other = edited_result(anthropic, edits, reader);
  EXPECT_THAT(other, HasSubstr(R"("text":"4")"));
  EXPECT_THAT(other, ::testing::Not(HasSubstr("hidden")));
  EXPECT_THAT(other, ::testing::Not(HasSubstr("BLOB")));
  for (const char* same : {R"({"response":{"status_code":400,"body":null}})", "no JSON", R"({"a":1})", ""}) {
    EXPECT_EQ(edited_result(same, edits, reader), same);
  }
}

}  // namespace
}  // namespace retort::api
