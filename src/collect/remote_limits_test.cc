// Under a token limit, on a clock of the test's own: as much of the limit as possible, and hardly a refusal.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "base/json.h"
#include "base/random.h"
#include "collect/remote_collect.h"
#include "net/testing.h"

namespace retort::collect {
namespace {

constexpr double kTokensPerMinute = 90'000;

// Charges what an answer really used when it is made, and refuses while the limit is used up.
class LimitedServer {
 public:
  enum class Counting { kBucket, kWindow };  // refilled evenly, or anew each minute
  LimitedServer(ManualClock& clock, Counting counting) : clock_(clock), counting_(counting) {}

  net::ScriptedAnswer answer() {
    refill();
    const bool measured = clock_.monotonic_s() >= 120 && clock_.monotonic_s() < 720;
    if (measured) ++requests;
    if (level_ <= 0) {
      if (measured) ++refused;
      net::HttpOutcome outcome = net::json_outcome(429, "{}");
      outcome.headers.add("retry-after-ms", std::to_string(static_cast<int>(1000 * wait_s())));
      return {outcome, 0.05};
    }
    // Log-normal lengths, mean about 300 tokens, and ten tokens a second.
    const double tokens = std::min(2000.0, std::round(std::exp(5.4 + 0.8 * random_.normal())));
    const double input = 40;
    level_ -= tokens + input;
    if (measured) used += tokens + input;
    const Json whole = {{"choices", {{{"finish_reason", "stop"}, {"message", {{"content", "text"}}}}}},
                        {"usage", {{"prompt_tokens", 40}, {"completion_tokens", static_cast<std::int64_t>(tokens)}}}};
    return {net::json_outcome(200, canonical_json(whole)), 0.3 + tokens / 50};
  }

  double used = 0;
  int requests = 0;
  int refused = 0;

 private:
  double wait_s() const {
    const double now_s = clock_.monotonic_s();
    return counting_ == Counting::kWindow ? 60 * (std::floor(now_s / 60) + 1) - now_s
                                          : -level_ / (kTokensPerMinute / 60) + 0.01;
  }
  void refill() {
    const double now_s = clock_.monotonic_s();
    if (counting_ == Counting::kWindow) {
      if (std::floor(now_s / 60) > std::floor(last_s_ / 60)) level_ = kTokensPerMinute;
    } else {
      level_ = std::min(kTokensPerMinute, level_ + (now_s - last_s_) * kTokensPerMinute / 60);
    }
    last_s_ = now_s;
  }

  ManualClock& clock_;
  Counting counting_;
  Random random_{11};
  double level_ = kTokensPerMinute;
  double last_s_ = 0;
};

class RemoteLimitsTest : public ::testing::TestWithParam<LimitedServer::Counting> {};

TEST_P(RemoteLimitsTest, TheLimitIsUsedAndKept) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("retort_limits_" + std::to_string(getpid()));
  std::filesystem::remove_all(folder);
  ManualClock clock;
  LimitedServer server(clock, GetParam());
  net::ScriptedTransport transport(clock, [&](const net::HttpCall& call) -> net::ScriptedAnswer {
    if (call.method == "GET" || call.url.ends_with("/v1/completions")) return {net::json_outcome(404, "{}"), 0.01};
    return server.answer();
  });
  std::vector<PromptRow> rows;
  for (std::size_t i = 0; i < 5000; ++i) {
    rows.push_back({i + 1, Prompt{{{Role::kUser, "question " + std::to_string(i) + std::string(100, 'x')}}}, {}});
  }
  RemoteSource source;
  source.teacher.api = "openai";
  source.teacher.model = "m";
  source.endpoints = {{"http://127.0.0.1:1/v1", "", 0, 0}};
  CollectOptions options;
  options.prompts = {};
  options.count = 0;
  options.max_tokens = 2000;
  options.concurrency = 256;
  options.limits.tokens_per_minute = static_cast<std::int64_t>(kTokensPerMinute);
  SilentProgress progress;
  auto store = store::ExchangeStore::open(folder / "store.sqlite");
  const auto summary = collect_remote(source, {HeldRows(rows), "q", "d"}, options, *store, transport,
                                      folder / "capabilities", clock, progress, {});
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_TRUE(summary->complete) << summary->why;
  ASSERT_GT(clock.monotonic_s(), 720) << "there was work for all of the twelve minutes";
  const double share = server.used / (10 * kTokensPerMinute);
  const double refused = static_cast<double>(server.refused) / server.requests;
  RecordProperty("share_of_limit", std::to_string(share));
  RecordProperty("refused", std::to_string(refused));
  std::printf("used %.2f %% of the limit, %.2f %% of %d requests refused\n", 100 * share, 100 * refused,
              server.requests);
  EXPECT_GE(share, 0.95);
  EXPECT_LE(share, 1.02);
  EXPECT_LE(refused, 0.01);
  std::filesystem::remove_all(folder);
}

INSTANTIATE_TEST_SUITE_P(Countings, RemoteLimitsTest,
                         ::testing::Values(LimitedServer::Counting::kBucket, LimitedServer::Counting::kWindow));

}  // namespace
}  // namespace retort::collect
