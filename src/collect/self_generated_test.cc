#include "collect/self_generated.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "base/json.h"
#include "gguf/testing.h"
#include "net/testing.h"
#include "tokens/chat_format.h"

namespace retort::collect {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

const RawTurns kTurns{"<S>", "<E><A>", {"<E>"}, {"<E>", "<S>"}};

std::string continuation(const std::string& text, const char* finish = "stop") {
  return canonical_json({{"id", "c"},
                         {"model", "m"},
                         {"choices", {{{"text", text}, {"finish_reason", finish}}}},
                         {"usage", {{"prompt_tokens", 3}, {"completion_tokens", 2}}}});
}

class SelfGeneratedTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("retort_self_generated_" + std::to_string(getpid()));
    std::filesystem::remove_all(folder_);
    source_.teacher.api = "openai_completions";
    source_.teacher.model = "m";
    source_.endpoints = {{"http://127.0.0.1:1/v1", "", 0, 0}};
    options_.count = 12;
    options_.max_tokens = 32;
    options_.max_user_tokens = 9;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // Every third turn of the first twelve is no good: cut, empty, or with a control token.
  net::ScriptedAnswer answer(const Json& body) {
    const std::string prompt = body.at("prompt");
    if (prompt == "<S>") {
      EXPECT_EQ(body.at("max_tokens"), 9);
      EXPECT_EQ(body.at("stop"), Json::array({"<E>"}));
      EXPECT_EQ(body.at("parse_special"), true);
      const int number = turns_++;
      if (number % 9 == 0) return {net::json_outcome(200, continuation("cut", "length")), 0.1};
      if (number % 9 == 3) return {net::json_outcome(200, continuation(" \n")), 0.1};
      if (number % 9 == 6) return {net::json_outcome(200, continuation("a<S>b")), 0.1};
      return {net::json_outcome(200, continuation("question " + std::to_string(number))), 0.1};
    }
    EXPECT_THAT(prompt, testing::MatchesRegex("<S>question [0-9]+<E><A>"));
    EXPECT_EQ(body.at("max_tokens"), 32);
    EXPECT_TRUE(answered_.insert(prompt).second) << prompt << " was asked twice";
    return {net::json_outcome(200, continuation("answer to " + prompt)), 0.1};
  }

  Result<RemoteSummary> collect() {
    net::ScriptedTransport transport(clock_, [&](const net::HttpCall& call) -> net::ScriptedAnswer {
      if (call.method == "GET") return {net::json_outcome(404, "{}"), 0.01};
      const Json body = Json::parse(call.body);
      const std::string prompt = body.at("prompt");
      if (prompt.find("Say OK.") != std::string::npos || prompt == "One two three") {
        return {net::json_outcome(200, continuation("OK")), 0.01};
      }
      return answer(body);
    });
    auto store = store::ExchangeStore::open(folder_ / "store.sqlite");
    EXPECT_TRUE(store);
    return collect_self_generated(source_, *template_turns(kTurns), options_, *store, transport,
                                  folder_ / "capabilities", clock_, progress_, {});
  }

  std::filesystem::path folder_;
  ManualClock clock_;
  SilentProgress progress_;
  RemoteSource source_;
  CollectOptions options_;
  int turns_ = 0;
  std::set<std::string> answered_;
};

TEST_F(SelfGeneratedTest, TheTeacherWritesBothTurnsAndBadOnesAreDrawnAgain) {
  const auto summary = collect();
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_TRUE(summary->complete);
  EXPECT_EQ(summary->planned, 12);
  EXPECT_EQ(summary->committed, 12);
  EXPECT_EQ(summary->given_up, 0);
  ASSERT_EQ(summary->ids.size(), 12U);
  EXPECT_GT(turns_, 12);
  EXPECT_EQ(summary->dropped_turns->total(), turns_ - 12);
  EXPECT_GT(summary->dropped_turns->cut, 0);
  EXPECT_GT(summary->dropped_turns->broken, 0);
  const auto store = store::ExchangeStore::open(folder_ / "store.sqlite");
  for (const Digest& id : summary->ids) {
    const auto exchange = store->get(id);
    ASSERT_TRUE(exchange);
    ASSERT_EQ(exchange->prompt.messages.size(), 1U);
    EXPECT_THAT(exchange->prompt.messages[0].content, testing::StartsWith("question "));
    EXPECT_EQ(exchange->completion.text, "answer to <S>" + exchange->prompt.messages[0].content + "<E><A>");
    EXPECT_EQ(exchange->provenance.prompt_source, "self_generated");
    ASSERT_EQ(exchange->provenance.derived_from.size(), 1U);
    EXPECT_EQ(store->get(exchange->provenance.derived_from[0])->completion.text, exchange->prompt.messages[0].content);
  }
  // What is paid for is never asked again; more of them are added to those that are there.
  const int turns = turns_;
  const auto again = collect();
  ASSERT_TRUE(again && again->complete);
  EXPECT_EQ(again->ids, summary->ids);
  EXPECT_EQ(turns_, turns);
  options_.count = 15;
  const auto more = collect();
  ASSERT_TRUE(more && more->complete);
  EXPECT_EQ(more->ids.size(), 15U);
  EXPECT_EQ(answered_.size(), 15U);
  for (const Digest& id : summary->ids) EXPECT_THAT(more->ids, Contains(id));
}

TEST_F(SelfGeneratedTest, TurnsThatNeverComeWellAreGivenUp) {
  options_.attempts = 1;
  const auto summary = collect();
  ASSERT_TRUE(summary);
  EXPECT_TRUE(summary->complete);
  EXPECT_EQ(summary->ids.size(), 8U);
  EXPECT_EQ(summary->given_up, 4);
  EXPECT_EQ(summary->committed, 12);
}

TEST_F(SelfGeneratedTest, TheCapHoldsOverBothTurns) {
  options_.budget.requests = 17;
  const auto summary = collect();
  ASSERT_TRUE(summary);
  EXPECT_FALSE(summary->complete);
  EXPECT_EQ(summary->stopped, Stopped::kBudget);
  EXPECT_LE(summary->totals.attempts, 17);
}

TEST(RawTurnsTest, AreTheTemplatesOwnText) {
  const auto path = std::filesystem::temp_directory_path() / ("retort_turns_" + std::to_string(getpid()) + ".gguf");
  ASSERT_TRUE(gguf::testing::write_tiny_model(path, {}));
  const auto format = tokens::ChatFormat::load(path);
  std::filesystem::remove(path);
  ASSERT_TRUE(format) << format.error().message;
  const auto turns = raw_turns_of(*format, "Be brief.");
  ASSERT_TRUE(turns) << turns.error().message;
  const std::vector<Message> messages = {{Role::kSystem, "Be brief."}, {Role::kUser, "What now?"}};
  EXPECT_EQ(turns->before_user + "What now?" + turns->after_user, *format->render_text(messages, true));
  ASSERT_FALSE(turns->ends.empty());
  EXPECT_TRUE(turns->after_user.starts_with(turns->ends.front())) << turns->after_user;
  EXPECT_THAT(turns->control, Contains(turns->ends.front()));

  const TurnTexts stated{"<S>", "<E><A>", "<E>"};
  EXPECT_EQ(raw_turns_of(stated, "")->before_user, "<S>");
  EXPECT_THAT(raw_turns_of(stated, "Be brief.").error().message, HasSubstr("teacher.template"));
}

}  // namespace
}  // namespace retort::collect
