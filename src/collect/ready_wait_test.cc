// A server of one's own that still loads its model when the collection begins, as collect_remote() meets it.
#include "collect/ready_wait.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "collect/remote_collect.h"
#include "net/testing.h"

namespace retort::collect {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Notes final : public Progress {
 public:
  void begin(std::string_view, double, std::string_view) override {}
  void advance(double, std::string_view) override {}
  void end(std::string_view) override {}
  void note(std::string_view sentence) override { told.emplace_back(sentence); }
  std::vector<std::string> told;
};

net::ScriptedAnswer status(int code, const char* retry_after = "") {
  net::HttpOutcome outcome = net::json_outcome(code, R"({"error":{"message":"Loading model","code":503}})");
  if (*retry_after != '\0') outcome.headers.add("retry-after", retry_after);
  return {outcome, 0.01};
}

net::ScriptedAnswer trouble(net::Trouble kind, bool nobody_listens = false) {
  net::HttpOutcome outcome;
  outcome.trouble = kind;
  outcome.trouble_text = "Couldn't connect to server";
  outcome.nobody_listens = nobody_listens;
  return {outcome, 0.01};
}

class ReadyWaitTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("retort_ready_" + std::to_string(getpid()));
    std::filesystem::remove_all(folder_);
    source_.teacher.api = "openai";
    source_.teacher.model = "teacher-1";
    source_.endpoints = {{"http://127.0.0.1:1/v1", "", 0, 0}};
    options_.count = 0;
    options_.max_tokens = 32;
    for (int i = 0; i < 3; ++i) {
      rows_.push_back({static_cast<std::size_t>(i + 1), Prompt{{{Role::kUser, "question " + std::to_string(i)}}}, {}});
    }
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // What a server says that isn't ready, for `loads_s` from now; then it answers.
  Result<RemoteSummary> collect(double loads_s, const std::function<net::ScriptedAnswer(const net::HttpCall&)>& loading,
                                std::stop_token stop = {}) {
    const double ready_at_s = clock_.monotonic_s() + loads_s;
    net::ScriptedTransport transport(clock_, [&](const net::HttpCall& call) -> net::ScriptedAnswer {
      if (clock_.monotonic_s() < ready_at_s) {
        ++early_;
        return loading(call);
      }
      if (call.method == "GET" || !call.url.ends_with("/chat/completions")) return status(404);
      return {net::json_outcome(200, R"({"model":"m","choices":[{"finish_reason":"stop","message":{"content":"yes"}}],)"
                                     R"("usage":{"prompt_tokens":3,"completion_tokens":1}})"),
              0.1};
    });
    auto store = store::ExchangeStore::open(folder_ / "store.sqlite");
    EXPECT_TRUE(store);
    const HeldRows rows(rows_);
    return collect_remote(source_, {rows, "questions.jsonl", "digest"}, options_, *store, transport,
                          folder_ / "capabilities", clock_, notes_, std::move(stop));
  }
  static net::ScriptedAnswer loading(const net::HttpCall&) { return status(503); }

  std::filesystem::path folder_;
  ManualClock clock_;
  Notes notes_;
  RemoteSource source_;
  CollectOptions options_;
  std::vector<PromptRow> rows_;
  int early_ = 0;
};

TEST_F(ReadyWaitTest, AServerOfOnesOwnIsWaitedForWhileItLoads) {
  const auto summary = collect(400, &loading);
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_TRUE(summary->complete);
  EXPECT_EQ(summary->committed, 3);
  EXPECT_LT(clock_.monotonic_s(), 400 + 25);
  EXPECT_GT(early_, 20);
  EXPECT_LT(early_, 50) << "ever less often";
  EXPECT_THAT(notes_.told, ElementsAre("http://127.0.0.1:1/v1 is not ready yet (503); waiting, up to 15 minutes.",
                                       HasSubstr("http://127.0.0.1:1/v1 answers after 7 minutes.")));
  EXPECT_EQ(summary->totals.attempts, 4 + 1) << "looking costs nothing: three answers and a probe of two requests";
}

TEST_F(ReadyWaitTest, WhatItKnowsOfTheTeacherDoesntKeepItFromWaiting) {
  ASSERT_TRUE(collect(0, &loading));
  options_.seed = 2;
  const auto summary = collect(400, &loading);
  ASSERT_TRUE(summary);
  EXPECT_TRUE(summary->complete) << summary->why;
}

TEST_F(ReadyWaitTest, EachWayOfNotBeingReadyIsKnown) {
  for (const auto& way : std::vector<net::ScriptedAnswer>{
           status(502), status(504), trouble(net::Trouble::kConnect, true), trouble(net::Trouble::kCut)}) {
    std::filesystem::remove_all(folder_);
    const auto summary = collect(60, [&](const net::HttpCall&) { return way; });
    ASSERT_TRUE(summary) << summary.error().message;
    EXPECT_TRUE(summary->complete) << summary->why;
  }
  // llama.cpp tells its models while it loads one.
  std::filesystem::remove_all(folder_);
  const auto summary =
      collect(60, [](const net::HttpCall& call) { return call.method == "GET" ? status(404) : status(503); });
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_TRUE(summary->complete) << summary->why;
  EXPECT_EQ(summary->totals.reserved_tokens, 0);
  EXPECT_EQ(summary->totals.output_tokens, 3 + 1) << "what was refused costs nothing";
}

TEST_F(ReadyWaitTest, RetryAfterIsKeptTo) {
  ASSERT_TRUE(collect(200, [](const net::HttpCall&) { return status(503, "100"); }));
  EXPECT_EQ(early_, 2);
}

TEST_F(ReadyWaitTest, AfterItsTimeItEndsWithASentence) {
  options_.ready_s = 120;
  const auto summary = collect(1e6, &loading);
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->stopped, Stopped::kWorld);
  EXPECT_FALSE(summary->complete);
  EXPECT_THAT(summary->why, HasSubstr("was not ready within 2 minutes (collect.ready_s), last: 503 (Loading model)."));
  EXPECT_NEAR(clock_.monotonic_s(), 120, 2);
  options_.ready_s = 0;
  const double before_s = clock_.monotonic_s();
  ASSERT_FALSE(collect(1e6, &loading));
  EXPECT_LT(clock_.monotonic_s() - before_s, 1);
}

TEST_F(ReadyWaitTest, DenialsAndUnknownHostsAreNotWaitedFor) {
  for (const auto& way :
       std::vector<net::ScriptedAnswer>{status(401), status(403), status(404), trouble(net::Trouble::kConnect)}) {
    const double before_s = clock_.monotonic_s();
    const auto summary = collect(1e6, [&](const net::HttpCall&) { return way; });
    EXPECT_FALSE(summary);
    EXPECT_LT(clock_.monotonic_s() - before_s, 1);
  }
  EXPECT_THAT(notes_.told, IsEmpty());
}

TEST_F(ReadyWaitTest, AHostedProviderIsNotWaitedFor) {
  source_.endpoints = {{"https://api.example.com/v1", "sk-key", 0, 0}};
  const auto summary = collect(1e6, &loading);
  ASSERT_FALSE(summary);
  EXPECT_THAT(summary.error().message, HasSubstr("503"));
  EXPECT_LT(clock_.monotonic_s(), 1);
}

TEST_F(ReadyWaitTest, TheUserNeedntWait) {
  std::stop_source user;
  const auto summary = collect(
      1e6,
      [&](const net::HttpCall&) {
        if (early_ == 5) user.request_stop();
        return status(503);
      },
      user.get_token());
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->stopped, Stopped::kSignal);
  EXPECT_THAT(summary->why, HasSubstr("The same command goes on"));
  EXPECT_LT(clock_.monotonic_s(), 30);
  // Nor where a server takes the connection and says nothing.
  std::stop_source silent;
  const auto hanging = collect(
      1e6,
      [&](const net::HttpCall&) {
        silent.request_stop();
        return net::ScriptedAnswer{net::json_outcome(503, "{}"), 100};
      },
      silent.get_token());
  ASSERT_TRUE(hanging) << hanging.error().message;
  EXPECT_EQ(hanging->stopped, Stopped::kSignal);
  EXPECT_LT(clock_.monotonic_s(), 31);
}

}  // namespace
}  // namespace retort::collect
