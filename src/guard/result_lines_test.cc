#include "guard/result_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace retort::guard {
namespace {

std::string result(const std::string& reasoning) {
  return R"({"custom_id":"a","response":{"status_code":200,"body":{"object":"chat.completion","choices":[{"index":0,"message":{"content":"4",)"
         R"("reasoning_content":)" +
         reasoning + "}}]}}}";
}

std::string shown(const std::string& text, std::size_t step) {
  api::AnswerEdits edits;
  edits.strip_reasoning = true;
  ResultLines lines(edits, std::make_shared<api::JsonReader>());
  std::string all;
  for (std::size_t at = 0; at < text.size(); at += step) all += lines.feed(text.substr(at, step)).value();
  return all + lines.end();
}

TEST(ResultLines, EachAnswerIsShownAsTheTierMayHaveIt) {
  for (const char* end : {"\n", ""}) {
    const std::string text =
        result("\"secret\"") + "\n" + R"({"custom_id":"b","error":{"code":"x"}})" + "\n" + result("\"secret\"") + end;
    const std::string expected =
        result("null") + "\n" + R"({"custom_id":"b","error":{"code":"x"}})" + "\n" + result("null") + end;
    for (std::size_t step = 1; step <= text.size(); ++step) ASSERT_EQ(shown(text, step), expected) << step;
  }
}

TEST(ResultLines, WhatIsNoLineOfJsonPasses) {
  const std::string binary("\x89PNG\r\n\x1a\n\0\xff{\"a\":1}\n\n[1]\n  {half", 30);
  for (std::size_t step = 1; step <= binary.size(); ++step) ASSERT_EQ(shown(binary, step), binary) << step;
}

}  // namespace
}  // namespace retort::guard
