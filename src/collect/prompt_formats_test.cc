// The formats of prompt files: golden files and broken ones, for each.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "base/random.h"
#include "collect/delimited.h"
#include "collect/json_rows.h"
#include "collect/prompts.h"

namespace retort::collect {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<PromptRow> read(std::string_view text, PromptFormat format = PromptFormat::kJsonLines,
                            std::string_view name = "p.jsonl") {
  auto rows = parse_prompts(text, name, format);
  EXPECT_TRUE(rows) << (rows ? "" : rows.error().message);
  return rows ? *rows : std::vector<PromptRow>{PromptRow{0, Prompt{{{Role::kUser, "refused"}}}, std::nullopt}};
}

std::string refused(std::string_view text, PromptFormat format = PromptFormat::kJsonLines) {
  const auto rows = parse_prompts(text, "p.x", format);
  if (rows) return "accepted";
  EXPECT_EQ(rows.error().fault, Fault::kCaller);
  return rows.error().message;
}

std::vector<std::string> roles(const Prompt& prompt) {
  std::vector<std::string> names;
  for (const Message& message : prompt.messages) names.emplace_back(name_of(message.role));
  return names;
}

std::vector<std::vector<std::string>> records(std::string_view text, char separator = ',') {
  LineReader lines = LineReader::of(text);
  RecordReader reader(lines, separator);
  std::vector<std::vector<std::string>> all;
  while (true) {
    auto record = reader.next();
    EXPECT_TRUE(record) << record.error().message;
    if (!record || !*record) return all;
    all.push_back((*record)->broken.empty() ? (*record)->fields : std::vector<std::string>{"broken"});
  }
}

TEST(JsonPrompts, ToolsCallsAndResultsAreCarriedWhole) {
  const auto rows = read(
      R"({"tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}], "messages": [)"
      R"({"role": "developer", "content": "Be brief."}, {"role": "user", "name": "ada", "content": [{"type": "text", "text": "Rain "}, {"type": "text", "text": "in Ulm?"}]},)"
      R"({"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Ulm"}}}]},)"
      R"({"role": "tool", "tool_call_id": "c1", "content": "dry"}]})");
  const Prompt& prompt = rows[0].prompt;
  EXPECT_THAT(roles(prompt), ElementsAre("system", "user", "assistant", "tool"));
  EXPECT_EQ(prompt.messages[1].content, "Rain in Ulm?");
  EXPECT_EQ(prompt.messages[1].name, "ada");
  EXPECT_EQ(prompt.messages[2].content, "");
  EXPECT_EQ(prompt.messages[2].tool_calls,
            R"([{"function":{"arguments":"{\"city\":\"Ulm\"}","name":"weather"},"id":"c1","type":"function"}])");
  EXPECT_EQ(prompt.messages[3].tool_call_id, "c1");
  EXPECT_EQ(prompt.tools, R"([{"function":{"name":"weather","parameters":{"type":"object"}},"type":"function"}])");
  EXPECT_FALSE(rows[0].answer);
}

TEST(JsonPrompts, AnAnswerMayBeACall) {
  const auto rows = read(
      R"({"messages": [{"role": "user", "content": "Rain?"}, {"role": "assistant", "tool_calls": [{"function": {"name": "weather", "arguments": "{}"}}]}]})");
  EXPECT_EQ(rows[0].answer, "");
  EXPECT_EQ(rows[0].answer_tool_calls,
            R"([{"function":{"arguments":"{}","name":"weather"},"id":"call_1","type":"function"}])");
  EXPECT_EQ(rows[0].prompt.messages.size(), 1U);
}

TEST(JsonPrompts, PromptAndCompletionMayBeMessages) {
  const auto rows = read(
      R"({"prompt": [{"role": "user", "content": "2+2?"}], "completion": [{"role": "assistant", "content": "4"}], "system": "Count."})");
  EXPECT_THAT(roles(rows[0].prompt), ElementsAre("system", "user"));
  EXPECT_EQ(rows[0].answer, "4");
}

TEST(JsonPrompts, WhatCannotBeCarriedIsRefused) {
  const std::string user = R"({"role": "user", "content": "a"})";
  const std::string call =
      R"({"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]})";
  const auto messages = [](const std::string& list) { return "{\"messages\": [" + list + "]}"; };
  EXPECT_THAT(refused(messages(R"({"role": "user", "content": [{"type": "image_url", "image_url": {}}]})")),
              HasSubstr("text alone"));
  EXPECT_THAT(refused(messages(user + "," + call + R"(,{"role": "tool", "tool_call_id": "d", "content": "x"})")),
              HasSubstr("no message before it makes"));
  EXPECT_THAT(refused(messages(user + "," + call + "," + user)), HasSubstr("no result"));
  EXPECT_THAT(refused(messages(R"({"role": "user", "content": "a", "tool_calls": [{"function": {"name": "f"}}]})")),
              HasSubstr("assistant alone"));
  EXPECT_THAT(refused(messages(user + R"(,{"role": "assistant", "tool_calls": [{"arguments": "{}"}]})")),
              HasSubstr("call of a tool is not of the form"));
  EXPECT_THAT(refused("{\"tools\": [1], \"messages\": [" + user + "]}"), HasSubstr("a tool is not of the form"));
}

TEST(JsonPrompts, DeepAndLongRowsAreHeldInBounds) {
  const std::string deep = "{\"prompt\": \"a\", \"x\": " + std::string(100'000, '[') + std::string(100'000, ']') + "}";
  EXPECT_THAT(refused("{\"prompt\": \"a\"}\n" + deep), AllOf(HasSubstr("line 2"), HasSubstr("nested deeper")));
  EXPECT_EQ(read("{\"prompt\": \"[[[[{{{{\", \"x\": [[1]]}").size(), 1U);
  const std::string long_text(10'000'000, 'x');
  const auto rows = read("{\"prompt\": \"a\"}\n{\"prompt\": \"" + long_text + "\"}\n{\"prompt\": \"b\"}\n");
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[1].prompt.messages[0].content.size(), long_text.size());
  EXPECT_EQ(rows[2].line, 3U);
  EXPECT_THAT(refused("ok\n" + std::string(kLongestRow + 1, 'x') + "\nok\n", PromptFormat::kLines),
              AllOf(HasSubstr("line 2"), HasSubstr("64 MB")));
}

TEST(JsonPrompts, ABrokenRowNamesItsPlaceAndNotItsText) {
  const std::string said = refused("{\"prompt\": \"a\"}\n{\"prompt\": \"my secret\" oops}\n");
  EXPECT_THAT(said, AllOf(HasSubstr("p.x, line 2"), HasSubstr("character 24"), Not(HasSubstr("secret"))));
  EXPECT_THAT(refused("{\"prompt\": \"a\"\n"), HasSubstr("ends in the middle"));
}

TEST(ShareGpt, TurnsCallsAndResultsBecomeMessages) {
  const auto rows = read(R"([
 {"id": 1, "system": "Be brief.", "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
 {"tools": "[{\"name\": \"weather\"}]",
  "conversations": [{"from": "human", "value": "Rain?"},
    {"from": "gpt", "value": "I look."}, {"from": "function_call", "value": "{\"name\": \"weather\", \"arguments\": {\"city\": \"Ulm\"}}"},
    {"from": "observation", "value": "dry"}]}
])",
                         PromptFormat::kShareGpt, "chats.json");
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].line, 2U);
  EXPECT_THAT(roles(rows[0].prompt), ElementsAre("system", "user"));
  EXPECT_EQ(rows[0].answer, "Hello");
  EXPECT_EQ(rows[1].line, 3U);
  EXPECT_THAT(roles(rows[1].prompt), ElementsAre("user", "assistant", "tool"));
  EXPECT_EQ(rows[1].prompt.messages[1].content, "I look.");
  EXPECT_EQ(rows[1].prompt.messages[1].tool_calls,
            R"([{"function":{"arguments":"{\"city\":\"Ulm\"}","name":"weather"},"id":"call_1","type":"function"}])");
  EXPECT_EQ(rows[1].prompt.messages[2].tool_call_id, "call_1");
  EXPECT_EQ(rows[1].prompt.tools, R"([{"function":{"name":"weather"},"type":"function"}])");

  const auto lines = read("{\"conversations\": [{\"from\": \"human\", \"value\": \"Hi\"}]}\n", PromptFormat::kAuto);
  EXPECT_EQ(lines[0].prompt.messages[0].content, "Hi");
}

TEST(ShareGpt, BrokenFilesAreRefused) {
  const auto share = [](std::string_view text) { return refused(text, PromptFormat::kShareGpt); };
  EXPECT_THAT(share("[{\"conversations\": [{\"from\": \"robot\", \"value\": \"Hi\"}]}]"), HasSubstr("robot"));
  EXPECT_THAT(share("[{\"conversations\": [{\"value\": \"Hi\"}]}]"), HasSubstr("who speaks"));
  EXPECT_THAT(share("[{\"conversations\": [{\"from\": \"human\", \"value\": 1}]}]"), HasSubstr("a number"));
  EXPECT_THAT(share("[{\"conversations\": []}]"), HasSubstr("empty"));
  EXPECT_THAT(share("[\n{\"prompt\": \"a\"}\n{\"prompt\": \"b\"}]"), AllOf(HasSubstr("line 3"), HasSubstr("comma")));
  EXPECT_THAT(share("[\n{\"prompt\": \"a\"},\n\n"), AllOf(HasSubstr("line 4"), HasSubstr("isn't closed")));
  EXPECT_THAT(share("[{\"prompt\": \"a\"},\n{\"prompt\": \"b\n"), AllOf(HasSubstr("line 2"), HasSubstr("never ends")));
  EXPECT_THAT(share("[{\"prompt\": \"a\"}] 5"), HasSubstr("follows the end"));
  EXPECT_THAT(share("[{\"prompt\": \"a\"},, 5]"), HasSubstr("comma"));
  EXPECT_THAT(share("[]"), HasSubstr("empty"));
}

// An array is found by brackets and strings alone, wherever the pieces of a file are cut.
TEST(ShareGpt, ArraysLongerThanAPieceAreReadWhole) {
  std::string text = "[";
  for (int i = 0; i < 2000; ++i) {
    text += std::string(i == 0 ? "" : ",") + "{\"prompt\": \"" + std::to_string(i) + " \\\"]}[{\\\\\", \"pad\": \"" +
            std::string(static_cast<std::size_t>(i % 700), '\\') +
            std::string(static_cast<std::size_t>(i % 700), '\\') + "\"}";
  }
  const auto rows = read(text + "]", PromptFormat::kJsonLines, "one_line.json");
  ASSERT_EQ(rows.size(), 2000U);
  EXPECT_EQ(rows[1999].prompt.messages[0].content, "1999 \"]}[{\\");
}

TEST(Delimited, Rfc4180) {
  using Fields = std::vector<std::string>;
  EXPECT_THAT(records("a,b\r\n1,2\r\n"), ElementsAre(Fields{"a", "b"}, Fields{"1", "2"}));
  EXPECT_THAT(records("a,\"b\"\"c\",\n"), ElementsAre(Fields{"a", "b\"c", ""}));
  EXPECT_THAT(records("\"x, y\r\n\r\nz\",2"), ElementsAre(Fields{"x, y\r\n\r\nz", "2"}));
  EXPECT_THAT(records(",\n\n \n\"\",\"\"\n"), ElementsAre(Fields{"", ""}, Fields{"", ""}));
  EXPECT_THAT(records("a b\"c\",d"), ElementsAre(Fields{"a b\"c\"", "d"}));
  EXPECT_THAT(records("\"a\"b,c\nd,e"), ElementsAre(Fields{"broken"}, Fields{"d", "e"}));
  EXPECT_THAT(records("\xEF\xBB\xBF\"a\",b\n"), ElementsAre(Fields{"a", "b"}));
  EXPECT_THAT(records("a\tb,c\t\"d\te\"\n", '\t'), ElementsAre(Fields{"a", "b,c", "d\te"}));
  EXPECT_THAT(records("\"\"\"\"\n"), ElementsAre(Fields{"\""}));
  EXPECT_THAT(records("\"a\"\r\n\"b\"\r"), ElementsAre(Fields{"a"}, Fields{"b"}));
}

// What is written by the rules of RFC 4180 reads back the same, whatever it holds.
TEST(Delimited, AnyFieldsReadBack) {
  Random random(7);
  constexpr std::string_view kAlphabet = "ab,\"\n\r\t x";
  for (int round = 0; round < 300; ++round) {
    std::vector<std::vector<std::string>> table(1 + random.below(4));
    std::string text;
    for (auto& row : table) {
      row.resize(2 + random.below(3));
      for (std::string& field : row) {
        const std::size_t size = random.below(8);
        for (std::size_t i = 0; i < size; ++i) field += kAlphabet[random.below(kAlphabet.size())];
        std::string quoted;
        for (const char c : field) quoted += c == '"' ? "\"\"" : std::string(1, c);
        text += (&field == row.data() ? "\"" : ",\"") + quoted + "\"";
      }
      text += random.below(2) == 0 ? "\n" : "\r\n";
    }
    EXPECT_EQ(records(text), table) << text;
  }
}

TEST(CsvPrompts, ColumnsAreFoundByName) {
  PromptSource source;
  const auto rows =
      read("id,prompt,system,completion\n1,\"Hi,\nyou\",Be brief.,\n2,2+2?,,4\n", PromptFormat::kAuto, "p.csv");
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].line, 2U);
  EXPECT_THAT(roles(rows[0].prompt), ElementsAre("system", "user"));
  EXPECT_EQ(rows[0].prompt.messages[1].content, "Hi,\nyou");
  EXPECT_FALSE(rows[0].answer);
  EXPECT_EQ(rows[1].line, 4U) << "lines inside a field count";
  EXPECT_EQ(rows[1].answer, "4");
  EXPECT_EQ(read("question\nWho?\n", PromptFormat::kAuto, "p.tsv")[0].prompt.messages[0].content, "Who?");
}

TEST(CsvPrompts, BrokenFilesAreRefused) {
  const auto csv = [](std::string_view text) { return refused(text, PromptFormat::kCsv); };
  EXPECT_THAT(csv("a,b\n1,2\n"), AllOf(HasSubstr("no column 'prompt'"), HasSubstr("'a', 'b'")));
  EXPECT_THAT(csv("prompt,b\n1\n"), AllOf(HasSubstr("line 2"), HasSubstr("1 fields; expected 2")));
  EXPECT_THAT(csv("prompt,b\n1,2\n\"x,2\n\n"), AllOf(HasSubstr("line 3"), HasSubstr("never ends")));
  EXPECT_THAT(csv("prompt,b\n,2\n"), AllOf(HasSubstr("line 2"), HasSubstr("empty")));
  EXPECT_THAT(csv("prompt,b\n\xff\xfe,2\n"), AllOf(HasSubstr("line 2"), HasSubstr("UTF-8")));
  EXPECT_THAT(csv("prompt\n"), HasSubstr("empty"));
}

TEST(LinePrompts, CarriageReturnsAndBlankLines) {
  const auto rows = read("one\r\n\r\ntwo\r\n", PromptFormat::kLines);
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].prompt.messages[0].content, "one");
  EXPECT_EQ(rows[1].line, 3U);
}

}  // namespace
}  // namespace retort::collect
