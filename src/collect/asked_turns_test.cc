// A chat teacher that is asked for users' messages, then for the answers to them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "base/json.h"
#include "collect/prompt_table.h"
#include "collect/self_generated.h"
#include "net/testing.h"
#include "store/ledger.h"

namespace retort::collect {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kAsks = "Write one message that a person sends to an AI assistant.";

std::size_t place(std::span<const std::string_view> list, std::string_view entry) {
  return static_cast<std::size_t>(std::find(list.begin(), list.end(), entry) - list.begin());
}

TEST(PromptTableTest, EveryCombinationComesOnceBeforeAnyComesAgain) {
  const PromptPlan plan(7);
  const auto size = static_cast<std::size_t>(PromptPlan::size());
  EXPECT_GT(size, 300'000U);
  std::vector<bool> seen(size);
  for (std::size_t i = 0; i < size; ++i) {
    const PromptWish wish = plan.at(static_cast<std::int64_t>(i));
    std::size_t number = place(prompt_tasks(), wish.task);
    number = number * prompt_subjects().size() + place(prompt_subjects(), wish.subject);
    number = number * prompt_writers().size() + place(prompt_writers(), wish.writer);
    number = number * prompt_forms().size() + place(prompt_forms(), wish.form);
    ASSERT_FALSE(seen[number]) << i;
    seen[number] = true;
  }
}

TEST(PromptTableTest, AFewDrawsUseEveryListEvenlyAndTheSeedDecidesTheirOrder) {
  const PromptPlan plan(1);
  std::map<std::string_view, int> subjects;
  std::map<std::string_view, int> tasks;
  for (int i = 0; i < 970; ++i) {
    ++subjects[plan.at(i).subject];
    ++tasks[plan.at(i).task];
  }
  ASSERT_EQ(subjects.size(), prompt_subjects().size());
  for (const auto& [subject, times] : subjects) EXPECT_EQ(times, 10) << subject;
  ASSERT_EQ(tasks.size(), prompt_tasks().size());
  for (const auto& [task, times] : tasks) EXPECT_NEAR(times, 970 / 24, 1) << task;
  int same = 0;
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(PromptPlan(1).at(i).subject, plan.at(i).subject);
    same += PromptPlan(2).at(i).subject == plan.at(i).subject ? 1 : 0;
  }
  EXPECT_LT(same, 10);
  for (const auto& list : {prompt_tasks(), prompt_subjects(), prompt_writers(), prompt_forms()}) {
    EXPECT_EQ(std::set<std::string_view>(list.begin(), list.end()).size(), list.size()) << list.front();
  }
}

TEST(AskedTurnsTest, WhatIsNoUsersMessageIsTold) {
  const auto writer = asked_turns();
  const auto flaw = [&](std::string text, FinishReason reason = FinishReason::kEnd) {
    return writer->read({std::move(text), reason}).flaw;
  };
  const auto text = [&](std::string said) { return writer->read({std::move(said), FinishReason::kEnd}).text; };
  EXPECT_EQ(text("  Why is the sky blue?\n"), "Why is the sky blue?");
  EXPECT_EQ(text("\"Why is the sky blue?\""), "Why is the sky blue?");
  EXPECT_EQ(text("“Why is the sky blue?”"), "Why is the sky blue?");
  EXPECT_EQ(text("\"Why\" and \"how\""), "\"Why\" and \"how\"") << "these are the user's";
  EXPECT_EQ(text("<think>A question.</think>\n\nWhy is the sky blue?"), "Why is the sky blue?");
  EXPECT_EQ(text("Here is my code: x"), "Here is my code: x");
  EXPECT_EQ(text("My flight was an airline's mistake."), "My flight was an airline's mistake.");
  EXPECT_EQ(flaw("<think>A question that never"), TurnFlaw::kBroken);
  EXPECT_EQ(flaw(" \n"), TurnFlaw::kEmpty);
  EXPECT_EQ(flaw("\"\""), TurnFlaw::kEmpty);
  EXPECT_EQ(flaw("Why is", FinishReason::kLength), TurnFlaw::kCut);
  EXPECT_EQ(flaw("Why is", FinishReason::kFiltered), TurnFlaw::kRefused);
  EXPECT_EQ(flaw("Why is", FinishReason::kToolCalls), TurnFlaw::kBroken);
  EXPECT_EQ(flaw("I'm sorry, but I can’t help with that."), TurnFlaw::kRefused);
  EXPECT_EQ(flaw("As an AI language model, I have no flat."), TurnFlaw::kRefused);
  EXPECT_EQ(flaw("Sure! Here you are: Why is the sky blue?"), TurnFlaw::kBroken);
  EXPECT_EQ(flaw("Here's a message:\n\nWhy is the sky blue?"), TurnFlaw::kBroken);
}

// Either chat API, with a teacher whose every fourth message is no good.
class AskedCollectionTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("retort_asked_" + std::to_string(getpid()));
    std::filesystem::remove_all(folder_);
    source_.teacher.api = GetParam();
    source_.teacher.model = "m";
    source_.endpoints = {{"http://127.0.0.1:1/v1", "", 0, 0}};
    options_.count = 20;
    options_.max_tokens = 32;
    options_.max_user_tokens = 60;
    options_.system = "Be brief.";
    options_.concurrency = 4;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  bool anthropic() const { return source_.teacher.api == "anthropic"; }

  std::string said(const std::string& text, const char* how) const {
    if (anthropic()) {
      const std::string reason = std::string(how) == "length" ? "max_tokens" : "end_turn";
      return canonical_json({{"id", "c"},
                             {"type", "message"},
                             {"model", "m"},
                             {"stop_reason", reason},
                             {"content", {{{"type", "text"}, {"text", text}}}},
                             {"usage", {{"input_tokens", 30}, {"output_tokens", 5}}}});
    }
    return canonical_json({{"id", "c"},
                           {"model", "m"},
                           {"choices", {{{"finish_reason", how}, {"message", {{"content", text}}}}}},
                           {"usage", {{"prompt_tokens", 30}, {"completion_tokens", 5}}}});
  }

  std::string question_of(const Json& body) const {
    const Json& content = body.at("messages").back().at("content");
    return content.is_string() ? content.get<std::string>() : content.at(0).at("text").get<std::string>();
  }

  net::ScriptedAnswer answer(const Json& body) {
    const std::string question = question_of(body);
    const std::string system = anthropic() ? body.value("system", "") : "";
    if (question.starts_with(kAsks)) {
      EXPECT_EQ(body.at("messages").size(), 1U) << "without the answers' system message";
      EXPECT_EQ(system, "");
      EXPECT_THAT(question, HasSubstr("At most 30 words."));
      EXPECT_EQ(body.at("max_tokens"), 60);
      ++asked_[question];
      const int number = turns_++;
      switch (number % 16) {
        case 3: return {net::json_outcome(200, said("cut of", "length")), 0.1};
        case 7: return {net::json_outcome(200, said(" ", "stop")), 0.1};
        case 11: return {net::json_outcome(200, said("I cannot write that.", "stop")), 0.1};
        case 15: return {net::json_outcome(200, said("Sure, here it is: hello", "stop")), 0.1};
        default: return {net::json_outcome(200, said("\"message " + std::to_string(number) + "\"", "stop")), 0.1};
      }
    }
    EXPECT_THAT(question, testing::MatchesRegex("message [0-9]+"));
    EXPECT_EQ(anthropic() ? system : body.at("messages").at(0).at("content").get<std::string>(), "Be brief.");
    EXPECT_EQ(body.at("max_tokens"), 32);
    ++answered_[question];
    return {net::json_outcome(200, said("answer to " + question, "stop")), 0.1};
  }

  // `until`: the user's wish to stop comes with that request.
  Result<RemoteSummary> collect(int until = -1) {
    std::stop_source user;
    net::ScriptedTransport transport(clock_, [&](const net::HttpCall& call) -> net::ScriptedAnswer {
      if (call.method == "GET" || call.url.ends_with("v1/completions")) return {net::json_outcome(404, "{}"), 0.01};
      const Json body = Json::parse(call.body);
      if (question_of(body) == "Say OK.") return {net::json_outcome(200, said("OK", "stop")), 0.01};
      if (++requests_ == until) user.request_stop();
      return answer(body);
    });
    auto store = store::ExchangeStore::open(folder_ / "store.sqlite");
    EXPECT_TRUE(store);
    return collect_self_generated(source_, *asked_turns(), options_, *store, transport, folder_ / "capabilities",
                                  clock_, progress_, user.get_token());
  }

  std::filesystem::path folder_;
  ManualClock clock_;
  SilentProgress progress_;
  RemoteSource source_;
  CollectOptions options_;
  int requests_ = 0;
  int turns_ = 0;
  std::map<std::string, int> asked_;
  std::map<std::string, int> answered_;
};
INSTANTIATE_TEST_SUITE_P(Apis, AskedCollectionTest, testing::Values("openai", "anthropic"));

TEST_P(AskedCollectionTest, TheTeacherIsAskedForAMessageAndThenAnswersIt) {
  const auto summary = collect();
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_TRUE(summary->complete) << summary->why;
  EXPECT_EQ(summary->planned, 20);
  EXPECT_EQ(summary->committed, 20);
  EXPECT_EQ(summary->given_up, 0);
  EXPECT_EQ(summary->asked, 20);
  ASSERT_TRUE(summary->dropped_turns);
  EXPECT_EQ(summary->dropped_turns->total(), turns_ - 20);
  for (const std::int64_t kind : {summary->dropped_turns->cut, summary->dropped_turns->empty,
                                  summary->dropped_turns->refused, summary->dropped_turns->broken}) {
    EXPECT_GE(kind, 1);
  }
  EXPECT_EQ(asked_.size(), static_cast<std::size_t>(turns_)) << "no instruction came twice";
  EXPECT_GE(summary->totals.attempts, turns_ + 20) << "both are in the ledger";
  EXPECT_EQ(summary->totals.output_tokens, 5 * (turns_ + 20 + 1));

  const auto store = store::ExchangeStore::open(folder_ / "store.sqlite");
  std::set<std::string> prompts;
  for (const Digest& id : summary->ids) {
    const auto exchange = store->get(id);
    ASSERT_TRUE(exchange);
    ASSERT_EQ(exchange->prompt.messages.size(), 2U);
    EXPECT_EQ(exchange->prompt.messages[0].content, "Be brief.");
    const std::string prompt = exchange->prompt.messages[1].content;
    prompts.insert(prompt);
    EXPECT_EQ(exchange->completion.text, "answer to " + prompt);
    // Where the prompt came from: the teacher wrote it, by this instruction.
    EXPECT_EQ(exchange->provenance.prompt_source, "self_generated");
    ASSERT_EQ(exchange->provenance.derived_from.size(), 1U);
    const auto turn = store->get(exchange->provenance.derived_from[0]);
    ASSERT_TRUE(turn);
    EXPECT_THAT(turn->prompt.messages.back().content, StartsWith(kAsks));
    EXPECT_EQ(turn->completion.text, "\"" + prompt + "\"");
    EXPECT_EQ(turn->provenance.generated_by, GeneratedBy::kTeacher);
    EXPECT_EQ(turn->provenance.served->model, "m");
  }
  EXPECT_EQ(prompts.size(), 20U);

  // What is paid for is never asked again; more are added to those that are there.
  const int requests = requests_;
  const auto again = collect();
  ASSERT_TRUE(again && again->complete);
  EXPECT_EQ(again->ids, summary->ids);
  EXPECT_EQ(again->dropped_turns->total(), summary->dropped_turns->total());
  EXPECT_EQ(requests_, requests);
  options_.count = 25;
  const auto more = collect();
  ASSERT_TRUE(more && more->complete);
  EXPECT_EQ(more->ids.size(), 25U);
  for (const auto& [question, times] : answered_) EXPECT_EQ(times, 1) << question;
  for (const auto& [question, times] : asked_) EXPECT_EQ(times, 1) << question;
}

TEST_P(AskedCollectionTest, StoppedAnywhereItGoesOnAndAsksNothingTwice) {
  int calls = 0;
  while (true) {
    const auto summary = collect(requests_ + 5);
    ASSERT_TRUE(summary) << summary.error().message;
    ASSERT_LT(++calls, 40);
    if (summary->complete) break;
    EXPECT_EQ(summary->stopped, Stopped::kSignal);
  }
  EXPECT_GT(calls, 4);
  EXPECT_EQ(answered_.size(), 20U);
  for (const auto& [question, times] : answered_) EXPECT_EQ(times, 1) << question;
  for (const auto& [question, times] : asked_) EXPECT_EQ(times, 1) << question;
  EXPECT_EQ(requests_, turns_ + 20);
}

TEST_P(AskedCollectionTest, TheSeedDecidesWhatIsAskedFor) {
  ASSERT_TRUE(collect());
  const auto first = asked_;
  std::filesystem::remove_all(folder_);
  asked_.clear();
  turns_ = 0;
  ASSERT_TRUE(collect());
  EXPECT_EQ(asked_, first);
  std::filesystem::remove_all(folder_);
  asked_.clear();
  turns_ = 0;
  options_.seed = 2;
  ASSERT_TRUE(collect());
  EXPECT_NE(asked_, first);
}

TEST_P(AskedCollectionTest, TheCapHoldsOverBothRequests) {
  options_.budget.requests = 30;
  const auto summary = collect();
  ASSERT_TRUE(summary);
  EXPECT_FALSE(summary->complete);
  EXPECT_EQ(summary->stopped, Stopped::kBudget);
  EXPECT_LE(summary->totals.attempts, 30);
}

TEST_P(AskedCollectionTest, TheEstimateCountsBothRequests) {
  const RemoteEstimate estimate = estimate_self_generated(*asked_turns(), options_);
  EXPECT_EQ(estimate.requests, 40);
  EXPECT_EQ(estimate.output_tokens.high, 20 * (60 + 32));
  const auto summary = collect();
  ASSERT_TRUE(summary);
  EXPECT_GT(estimate.input_tokens.low, 20 * 100) << "an instruction is some six hundred bytes";
  EXPECT_LT(estimate.input_tokens.high, 20 * 600);
}

}  // namespace
}  // namespace retort::collect
