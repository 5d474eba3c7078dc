#include "collect/remote_collect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <set>

#include "base/files.h"
#include "base/json.h"
#include "base/random.h"
#include "net/testing.h"

namespace retort::collect {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string answer_json(const std::string& text, int input = 10, int output = 5) {
  return canonical_json(
      {{"id", "chat-1"},
       {"model", "teacher-1"},
       {"choices",
        {{{"index", 0}, {"finish_reason", "stop"}, {"message", {{"role", "assistant"}, {"content", text}}}}}},
       {"usage", {{"prompt_tokens", input}, {"completion_tokens", output}}}});
}

bool is_probe(const Json& body) { return body.at("messages")[0].at("content") == "Say OK."; }

// A run folder, a world, and a recipe that asks it.
class RemoteCollectTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("retort_remote_" + std::to_string(getpid()));
    std::filesystem::remove_all(folder_);
    source_.teacher.api = "openai";
    source_.teacher.model = "teacher-1";
    source_.endpoints = {{"http://127.0.0.1:1/v1", "sk-very-secret", 0, 0}};
    source_.terms = "apache-2.0: allowed";
    options_.prompts = {};
    options_.count = 0;
    options_.max_tokens = 32;
    options_.concurrency = 8;
    for (int i = 0; i < 40; ++i) {
      rows_.push_back({static_cast<std::size_t>(i + 1), Prompt{{{Role::kUser, "question " + std::to_string(i)}}}, {}});
    }
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // How a request that isn't a probe is answered.
  using Script = std::function<net::ScriptedAnswer(const Json& body, int times)>;

  Result<RemoteSummary> collect(const Script& script, std::stop_token stop = {}) {
    net::ScriptedTransport transport(clock_, [&](const net::HttpCall& call) -> net::ScriptedAnswer {
      if (call.method == "GET") return {net::json_outcome(404, "{}"), 0.01};
      if (call.url.ends_with("/completions") && !call.url.ends_with("/chat/completions")) {
        return {net::json_outcome(404, "{}"), 0.01};
      }
      const Json body = Json::parse(call.body);
      if (is_probe(body)) {
        ++probes_;
        return {net::json_outcome(200, answer_json("OK")), 0.01};
      }
      ++requests_;
      urls_.insert(call.url);
      const std::string question = body.at("messages").back().at("content");
      return script(body, times_[question]++);
    });
    auto store = store::ExchangeStore::open(folder_ / "store.sqlite");
    EXPECT_TRUE(store);
    const HeldRows rows(rows_);
    auto summary = collect_remote(source_, {rows, "questions.jsonl", "digest"}, options_, *store, transport,
                                  folder_ / "capabilities", clock_, progress_, stop);
    most_in_flight_ = transport.most_in_flight;
    return summary;
  }

  static net::ScriptedAnswer good(const Json& body, int = 0) {
    const std::string question = body.at("messages").back().at("content");
    return {net::json_outcome(200, answer_json("answer to " + question)), 0.5};
  }

  std::vector<std::string> stored() const {
    const auto store = store::ExchangeStore::open(folder_ / "store.sqlite");
    std::vector<std::string> texts;
    EXPECT_TRUE(store->for_each([&](const Digest&, const Exchange& exchange) -> Result<void> {
      texts.push_back(exchange.completion.text);
      return {};
    }));
    return texts;
  }

  std::filesystem::path folder_;
  ManualClock clock_;
  SilentProgress progress_;
  RemoteSource source_;
  CollectOptions options_;
  std::vector<PromptRow> rows_;
  std::map<std::string, int> times_;
  std::set<std::string> urls_;
  int requests_ = 0;
  int probes_ = 0;
  std::size_t most_in_flight_ = 0;
};

TEST_F(RemoteCollectTest, AsksEveryPromptOnceAndNeverAgain) {
  const auto summary = collect(&good);
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_TRUE(summary->complete);
  EXPECT_EQ(summary->planned, 40);
  EXPECT_EQ(summary->committed, 40);
  EXPECT_EQ(summary->asked, 40);
  EXPECT_EQ(requests_, 40);
  EXPECT_EQ(summary->ids.size(), 40U);
  EXPECT_EQ(summary->totals.input_tokens, 41 * 10);  // the probe was paid for too
  EXPECT_EQ(summary->totals.open_attempts, 0);
  EXPECT_LE(most_in_flight_, 8U);
  EXPECT_GT(most_in_flight_, 4U) << "the window grows";
  EXPECT_EQ(to_json(*summary).at("stopped"), Json());

  const auto again = collect(&good);
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->complete);
  EXPECT_EQ(again->asked, 0);
  EXPECT_EQ(requests_, 40);
  EXPECT_EQ(again->ids, summary->ids);
}

TEST_F(RemoteCollectTest, AnExchangeSaysWhoAnsweredAndNothingOfTheKey) {
  ASSERT_TRUE(collect(&good));
  const auto store = store::ExchangeStore::open(folder_ / "store.sqlite");
  const auto ids = store->ids();
  const auto exchange = store->get(ids->front());
  ASSERT_TRUE(exchange && exchange->provenance.served);
  const ServedBy& served = *exchange->provenance.served;
  EXPECT_EQ(served.api, "openai.chat");
  EXPECT_EQ(served.answered_as, "teacher-1");
  EXPECT_EQ(served.request_id, "chat-1");
  EXPECT_EQ(served.output_tokens, 5);
  EXPECT_EQ(exchange->provenance.terms, "apache-2.0: allowed");
  EXPECT_TRUE(exchange->provenance.sampling.has_value());
  for (const auto& file : std::filesystem::recursive_directory_iterator(folder_)) {
    if (!file.is_regular_file()) continue;
    const auto bytes = read_file(file.path());
    EXPECT_THAT(*bytes, Not(HasSubstr("sk-very-secret"))) << file.path();
  }
}

TEST_F(RemoteCollectTest, WhatFailsIsAskedAgainAndWhatIsBrokenIsNeverKept) {
  // Each question meets another fault first: statuses, cuts, malformed bodies.
  const auto summary = collect([&](const Json& body, int times) -> net::ScriptedAnswer {
    const std::string question = body.at("messages").back().at("content");
    if (times > 0) return good(body);
    const int number = std::stoi(question.substr(9));
    net::HttpOutcome outcome = net::json_outcome(200, answer_json("bad"));
    switch (number % 10) {
      case 0: return {net::json_outcome(500, "{}"), 0.1};
      case 1: return {net::json_outcome(529, "{}"), 0.1};
      case 2: return {net::json_outcome(408, ""), 0.1};
      case 3: outcome.trouble = net::Trouble::kCut; break;
      case 4: outcome.body = outcome.body.substr(0, outcome.body.size() / 2); break;
      case 5:
        outcome.headers = {};
        outcome.headers.add("content-type", "text/html");
        break;
      case 6: outcome.body = R"({"choices":[{"message":{"content":"bad"},"finish_reason":null}]})"; break;
      case 7: outcome.body = "{\"choices\":[{\"message\":{\"content\":\"\xC3\"},\"finish_reason\":\"stop\"}]}"; break;
      case 8: outcome.trouble = net::Trouble::kTimeout; break;
      default: outcome.body = R"({"error":{"message":"bad","type":"x","param":null,"code":null}})"; break;
    }
    return {outcome, 0.1};
  });
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_TRUE(summary->complete) << summary->why;
  EXPECT_EQ(requests_, 80);
  EXPECT_EQ(summary->totals.attempts, 82) << "two of them found out what the teacher can give";
  EXPECT_EQ(to_json(*summary).at("failed"), 40 + 1) << "every attempt is in the ledger";
  // Statuses cost nothing; what was cut, late or malformed may have been billed: at its worst case.
  EXPECT_EQ(summary->totals.output_tokens, 28 * 32 + 41 * 5);
  for (const std::string& text : stored()) EXPECT_THAT(text, HasSubstr("answer to"));
}

TEST_F(RemoteCollectTest, ADenialEndsItAndIsTriedByNoOtherWay) {
  source_.endpoints.push_back({"http://127.0.0.2:1/v1", "sk-another", 0, 0});
  options_.concurrency = 1;
  int denied = 0;
  const auto summary = collect([&](const Json& body, int) -> net::ScriptedAnswer {
    if (requests_ < 5) return good(body);
    ++denied;
    return {net::json_outcome(403, R"({"error":{"message":"policy: sk-very-secret may not","type":"p"}})"), 0.1};
  });
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->stopped, Stopped::kWorld);
  EXPECT_FALSE(summary->complete);
  EXPECT_EQ(denied, 1);
  EXPECT_EQ(requests_, 5);
  EXPECT_THAT(summary->why, HasSubstr("denies this request (403)"));
  EXPECT_THAT(summary->why, HasSubstr("[key]"));
  EXPECT_THAT(summary->why, Not(HasSubstr("sk-very-secret")));
  EXPECT_EQ(summary->committed, 4) << "what was answered before is kept";
}

TEST_F(RemoteCollectTest, AWrongKeyIsTheUsersToMend) {
  const auto summary = collect([&](const Json&, int) -> net::ScriptedAnswer {
    return {net::json_outcome(401, "{}"), 0.1};
  });
  ASSERT_FALSE(summary);
  EXPECT_EQ(summary.error().fault, Fault::kCaller);
  EXPECT_THAT(summary.error().message, HasSubstr("key_env"));
}

TEST_F(RemoteCollectTest, NoCreditIsNotRetried) {
  const auto summary = collect([&](const Json&, int) -> net::ScriptedAnswer {
    return {net::json_outcome(429, R"({"error":{"message":"m","code":"insufficient_quota"}})"), 0.1};
  });
  ASSERT_TRUE(summary);
  EXPECT_EQ(summary->stopped, Stopped::kWorld);
  EXPECT_THAT(summary->why, HasSubstr("no credit"));
  EXPECT_LE(requests_, 4) << "those that were under way together";
}

TEST_F(RemoteCollectTest, SettingsThatTheServiceRefusesEndItWithItsWords) {
  const auto summary = collect([&](const Json&, int) -> net::ScriptedAnswer {
    return {net::json_outcome(400, R"({"error":{"message":"temperature is too warm"}})"), 0.1};
  });
  ASSERT_FALSE(summary);
  EXPECT_EQ(summary.error().fault, Fault::kCaller);
  EXPECT_THAT(summary.error().message, HasSubstr("temperature is too warm"));
  EXPECT_LE(requests_, 8);
}

TEST_F(RemoteCollectTest, OneRefusedPromptIsGivenUpForGood) {
  const Script script = [&](const Json& body, int) -> net::ScriptedAnswer {
    if (body.at("messages").back().at("content") != "question 7") return good(body);
    return {net::json_outcome(413, R"({"error":{"message":"too long"}})"), 5};
  };
  const auto summary = collect(script);
  ASSERT_TRUE(summary);
  EXPECT_TRUE(summary->complete);
  EXPECT_EQ(summary->given_up, 1);
  EXPECT_EQ(summary->ids.size(), 39U);
  const auto again = collect(script);
  ASSERT_TRUE(again);
  EXPECT_EQ(requests_, 40);
}

TEST_F(RemoteCollectTest, ACapIsNeverPassed) {
  options_.prices = {.input_per_mtok = 1.0, .output_per_mtok = 10.0};
  options_.budget.usd = 0.004;
  Random random(3);
  store::NanoUsd billed = 0;
  const auto summary = collect([&](const Json& body, int) -> net::ScriptedAnswer {
    const int output = static_cast<int>(random.below(33));
    billed += 10 * 1000 + output * 10'000;
    return {net::json_outcome(
                200, answer_json("x" + body.at("messages").back().at("content").get<std::string>(), 10, output)),
            0.1 + random.uniform()};
  });
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->stopped, Stopped::kBudget);
  EXPECT_FALSE(summary->complete);
  EXPECT_LE(summary->totals.nano_usd + summary->totals.reserved_nano_usd, 4'000'000);
  EXPECT_GT(summary->committed, 15);
  EXPECT_EQ(summary->totals.nano_usd, billed + 10 * 1000 + 5 * 10'000);
  // The same command finds the cap still used up, and a higher one goes on.
  const int before = requests_;
  ASSERT_TRUE(collect(&good));
  EXPECT_EQ(requests_, before);
  options_.budget.usd = 1;
  const auto more = collect(&good);
  ASSERT_TRUE(more);
  EXPECT_TRUE(more->complete);
}

TEST_F(RemoteCollectTest, AServiceThatBillsBeyondTheLimitEndsACappedCollection) {
  options_.budget.tokens = 1'000'000;
  const auto summary = collect([&](const Json&, int) -> net::ScriptedAnswer {
    return {net::json_outcome(200, answer_json("x", 10, 500)), 0.1};
  });
  ASSERT_TRUE(summary);
  EXPECT_EQ(summary->stopped, Stopped::kWorld);
  EXPECT_THAT(summary->why, HasSubstr("doesn't keep to the limit"));
}

// A process that dies: what it had reserved is still there, at its worst case, and only what isn't stored is asked.
TEST_F(RemoteCollectTest, AfterACrashOpenReservationsCountAndNothingKeptIsAskedAgain) {
  const auto died = std::make_unique<std::stop_source>();
  net::ScriptedTransport transport(clock_, [&](const net::HttpCall& call) -> net::ScriptedAnswer {
    if (call.method == "GET" || !call.url.ends_with("/chat/completions")) return {net::json_outcome(404, "{}"), 0.01};
    const Json body = Json::parse(call.body);
    if (is_probe(body)) return {net::json_outcome(200, answer_json("OK")), 0.01};
    if (++requests_ == 20) died->request_stop();
    // The last ones never answer.
    return requests_ > 12 ? net::ScriptedAnswer{net::json_outcome(200, "{}"), 1e6} : good(body);
  });
  {
    auto store = store::ExchangeStore::open(folder_ / "store.sqlite");
    options_.concurrency = 16;
    const HeldRows rows(rows_);
    const auto summary = collect_remote(source_, {rows, "questions.jsonl", "digest"}, options_, *store, transport,
                                        folder_ / "capabilities", clock_, progress_, died->get_token());
    ASSERT_TRUE(summary) << summary.error().message;
    EXPECT_EQ(summary->stopped, Stopped::kSignal);
    EXPECT_EQ(summary->committed, 12);
    EXPECT_GT(summary->totals.open_attempts, 0);
    EXPECT_GE(summary->totals.reserved_tokens, summary->totals.open_attempts * (32 + 10));
  }
  const int lost = requests_ - 12;
  requests_ = 0;
  const auto again = collect(&good);
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->complete);
  EXPECT_EQ(requests_, 28);
  EXPECT_EQ(again->totals.open_attempts, lost) << "nobody but a person settles them";
  auto store = store::ExchangeStore::open(folder_ / "store.sqlite");
  auto ledger = store::Ledger::open(*store);
  EXPECT_EQ(*ledger->reconcile(false, 1), lost);
  EXPECT_EQ(ledger->totals()->open_attempts, 0);
}

TEST_F(RemoteCollectTest, SeveralSamplesOfAPromptHaveSeedsOfTheirOwn) {
  options_.samples_per_prompt = 3;
  std::set<std::int64_t> seeds;
  const auto summary = collect([&](const Json& body, int) -> net::ScriptedAnswer {
    seeds.insert(body.at("seed").get<std::int64_t>());
    return good(body);
  });
  ASSERT_TRUE(summary);
  EXPECT_EQ(summary->planned, 120);
  EXPECT_EQ(seeds.size(), 120U);
}

TEST_F(RemoteCollectTest, WhatTheTeacherCantGiveIsRefusedBeforehand) {
  options_.logprobs = 5;
  const auto summary = collect(&good);
  ASSERT_FALSE(summary);
  EXPECT_EQ(summary.error().fault, Fault::kCaller);
  EXPECT_THAT(summary.error().message, HasSubstr("train.objective ce"));
  EXPECT_EQ(requests_, 0);
}

TEST_F(RemoteCollectTest, CapabilitiesAreRememberedForAWeek) {
  ASSERT_TRUE(collect(&good));
  const int first = probes_;
  options_.seed = 2;
  ASSERT_TRUE(collect(&good));
  EXPECT_EQ(probes_, first);
  clock_.advance_s(8 * 24 * 3600);
  options_.seed = 3;
  ASSERT_TRUE(collect(&good));
  EXPECT_EQ(probes_, 2 * first);
}

TEST_F(RemoteCollectTest, ATeacherThatOnlyFailsIsLeftInPeace) {
  const double began_s = clock_.monotonic_s();
  const auto summary = collect([&](const Json&, int) -> net::ScriptedAnswer {
    return {net::json_outcome(503, "{}"), 0.05};
  });
  ASSERT_TRUE(summary);
  EXPECT_EQ(summary->stopped, Stopped::kWorld);
  EXPECT_THAT(summary->why, HasSubstr("503"));
  EXPECT_LT(clock_.monotonic_s() - began_s, 700);
  EXPECT_LT(requests_, 600) << "backoff";
}

TEST_F(RemoteCollectTest, RowsWithAnAnswerAreKeptWithoutAsking) {
  rows_[3].answer = "my own";
  const auto summary = collect(&good);
  ASSERT_TRUE(summary);
  EXPECT_EQ(requests_, 39);
  EXPECT_THAT(stored(), ::testing::Contains("my own"));
}

}  // namespace
}  // namespace retort::collect
