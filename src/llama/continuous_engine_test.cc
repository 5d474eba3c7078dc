#include "llama/continuous_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <string>

#include "gguf/testing.h"

namespace retort::llama {
namespace {

using ::testing::HasSubstr;

const std::filesystem::path& tiny_model() {
  static const std::filesystem::path path = [] {
    const auto file =
        std::filesystem::path(::testing::TempDir()) / ("retort_continuous_" + std::to_string(getpid()) + ".gguf");
    const auto written = gguf::testing::write_tiny_model(file, {});
    EXPECT_TRUE(written) << written.error().message;
    return file;
  }();
  return path;
}

ContinuousOptions small_options(std::size_t parallel) {
  ContinuousOptions options;
  options.engine.threads = 1;
  options.engine.context_tokens = 256;
  options.engine.parallel = parallel;
  options.engine.batch_tokens = 64;
  options.engine.kv = KvType::kF32;
  options.engine.flash_attention = false;
  return options;
}

std::unique_ptr<ContinuousEngine> open_or_die(const ContinuousOptions& options) {
  auto engine = ContinuousEngine::open(tiny_model(), options);
  EXPECT_TRUE(engine) << engine.error().message;
  if (!engine) std::abort();
  return std::move(*engine);
}

// Keeps what it hears; may hold the engine at a token until it is let go.
class Listener final : public SequenceSink {
 public:
  void prompt_row(std::size_t position, std::span<const float> logits) override {
    EXPECT_EQ(position, rows.size());
    rows.emplace_back(logits.begin(), logits.end());
  }
  bool sampled(TokenId id, std::span<const float> logits) override {
    std::unique_lock lock(mutex);
    ids.push_back(id);
    last_row.assign(logits.begin(), logits.end());
    changed.notify_all();
    changed.wait(lock, [this] { return ids.size() != hold_at; });
    return ids.size() < enough;
  }
  void finished(FinishReason how) override { end(how, {}); }
  void failed(const Error& why) override { end(FinishReason::kUnknown, why.message); }

  void wait() {
    std::unique_lock lock(mutex);
    EXPECT_TRUE(changed.wait_for(lock, std::chrono::seconds(30), [this] { return ended; }));
  }
  void wait_for_tokens(std::size_t count) {
    std::unique_lock lock(mutex);
    EXPECT_TRUE(changed.wait_for(lock, std::chrono::seconds(30), [&] { return ids.size() >= count; }));
  }
  void let_go() {
    const std::lock_guard lock(mutex);
    hold_at = 0;
    changed.notify_all();
  }

  std::vector<std::vector<float>> rows;
  std::vector<float> last_row;
  std::vector<TokenId> ids;
  FinishReason reason = FinishReason::kUnknown;
  std::string error;
  std::size_t hold_at = 0;
  std::size_t enough = 1000;
  bool ended = false;
  std::mutex mutex;
  std::condition_variable changed;

 private:
  void end(FinishReason how, std::string message) {
    const std::lock_guard lock(mutex);
    EXPECT_FALSE(ended);
    ended = true;
    reason = how;
    error = std::move(message);
    changed.notify_all();
  }
};

SequenceRequest request_of(const std::shared_ptr<Listener>& listener, std::vector<TokenId> prompt,
                           std::int32_t max_tokens, double temperature = 0, std::uint64_t seed = 1) {
  SequenceRequest request;
  request.prompt_ids = std::move(prompt);
  request.sampling.max_tokens = max_tokens;
  request.sampling.temperature = temperature;
  request.sampling.seed = seed;
  request.sink = listener;
  return request;
}

std::vector<TokenId> prompt_of(std::size_t size, std::size_t variant) {
  std::vector<TokenId> prompt = {1, 5, 9, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43};  // a common head
  for (std::size_t j = 0; j < size; ++j) prompt.push_back(static_cast<TokenId>(20 + (variant * 13 + j * 7) % 200));
  return prompt;
}

std::vector<SequenceRequest> mixed(std::vector<std::shared_ptr<Listener>>& listeners, double temperature) {
  std::vector<SequenceRequest> requests;
  for (std::size_t i = 0; i < 17; ++i) {
    listeners.push_back(std::make_shared<Listener>());
    requests.push_back(request_of(listeners.back(), prompt_of(3 + 29 * (i % 5), i),
                                  static_cast<std::int32_t>(3 + i * 5 % 17), temperature, 100 + i));
  }
  return requests;
}

TEST(ContinuousEngineTest, InCompanyAsAlone) {
  for (const double temperature : {0.0, 1.0}) {
    std::vector<std::shared_ptr<Listener>> together;
    const auto many = open_or_die(small_options(4));
    ASSERT_TRUE(many->submit(mixed(together, temperature)));
    for (const auto& listener : together) listener->wait();

    std::vector<std::shared_ptr<Listener>> apart;
    ContinuousOptions plain = small_options(1);
    plain.reuse_prompts = false;
    const auto one = open_or_die(plain);
    ASSERT_TRUE(one->submit(mixed(apart, temperature)));
    for (std::size_t i = 0; i < apart.size(); ++i) {
      apart[i]->wait();
      EXPECT_EQ(together[i]->ids, apart[i]->ids) << "request " << i;
      EXPECT_EQ(together[i]->ids.size(), 3 + i * 5 % 17);
      EXPECT_EQ(together[i]->reason, FinishReason::kLength);
    }
    EXPECT_GT(many->counts().reused_tokens, 8U * 16U) << "the common head is read once, and copied";
    EXPECT_EQ(one->counts().reused_tokens, 0U);
  }
}

TEST(ContinuousEngineTest, AnswersToOnePromptReadItOnce) {
  const auto engine = open_or_die(small_options(8));
  std::vector<std::shared_ptr<Listener>> listeners;
  std::vector<SequenceRequest> requests;
  const auto prompt = prompt_of(120, 3);
  for (std::size_t i = 0; i < 8; ++i) {
    listeners.push_back(std::make_shared<Listener>());
    requests.push_back(request_of(listeners.back(), prompt, 6, i < 2 ? 0 : 1, i));
  }
  ASSERT_TRUE(engine->submit(std::move(requests)));
  for (const auto& listener : listeners) listener->wait();
  EXPECT_EQ(listeners[0]->ids, listeners[1]->ids);
  EXPECT_NE(listeners[2]->ids, listeners[3]->ids);
  EXPECT_EQ(engine->counts().prompt_tokens, prompt.size() + 7);
}

TEST(ContinuousEngineTest, PromptLogitsAreThoseOfTheScorer) {
  const auto prompt = prompt_of(150, 1);
  std::vector<std::vector<float>> expected;
  {
    auto scorer = Engine::open(tiny_model(), small_options(1).engine);
    ASSERT_TRUE(scorer);
    ASSERT_TRUE((*scorer)->score(prompt, 0, [&](const LogitRows& rows) -> Result<void> {
      for (std::size_t r = 0; r < rows.rows; ++r) expected.emplace_back(rows.row(r).begin(), rows.row(r).end());
      return {};
    }));
  }
  const auto engine = open_or_die(small_options(3));
  const auto scored = std::make_shared<Listener>();
  const auto answered = std::make_shared<Listener>();
  const auto other = std::make_shared<Listener>();
  SequenceRequest scoring = request_of(scored, prompt, 0);
  scoring.prompt_logits = true;
  SequenceRequest answering = request_of(answered, prompt, 1);
  answering.prompt_logits = true;
  std::vector<SequenceRequest> requests;
  requests.push_back(request_of(other, prompt_of(9, 2), 60));
  requests.push_back(std::move(scoring));
  requests.push_back(std::move(answering));
  ASSERT_TRUE(engine->submit(std::move(requests)));
  for (const auto& listener : {scored, answered, other}) listener->wait();
  EXPECT_TRUE(scored->ids.empty());
  EXPECT_EQ(scored->reason, FinishReason::kLength);
  for (const auto& listener : {scored, answered}) {
    ASSERT_EQ(listener->rows.size(), prompt.size() - 1);
    for (std::size_t i = 0; i + 1 < prompt.size(); ++i) {
      for (std::size_t k = 0; k < expected[i].size(); ++k) ASSERT_NEAR(listener->rows[i][k], expected[i][k], 1e-4) << i;
    }
  }
  for (std::size_t k = 0; k < expected.back().size(); ++k) ASSERT_NEAR(answered->last_row[k], expected.back()[k], 1e-4);
}

TEST(ContinuousEngineTest, NothingToDoIsDone) {
  const auto engine = open_or_die(small_options(2));
  const auto read = std::make_shared<Listener>();
  const auto short_one = std::make_shared<Listener>();
  SequenceRequest scoring = request_of(short_one, {5}, 0);
  scoring.prompt_logits = true;
  std::vector<SequenceRequest> requests;
  requests.push_back(request_of(read, prompt_of(5, 1), 0));
  requests.push_back(std::move(scoring));
  ASSERT_TRUE(engine->submit(std::move(requests)));
  for (const auto& listener : {read, short_one}) {
    listener->wait();
    EXPECT_EQ(listener->reason, FinishReason::kLength);
    EXPECT_TRUE(listener->rows.empty());
  }
}

TEST(ContinuousEngineTest, EndsEarlyByAnEndIdOrBecauseItIsEnough) {
  const auto engine = open_or_die(small_options(2));
  const auto probe = std::make_shared<Listener>();
  ASSERT_TRUE(engine->submit({request_of(probe, prompt_of(5, 1), 12)}));
  probe->wait();
  const TokenId end = probe->ids[6];
  const auto first =
      static_cast<std::size_t>(std::find(probe->ids.begin(), probe->ids.end(), end) - probe->ids.begin());
  const auto ended = std::make_shared<Listener>();
  SequenceRequest with_end = request_of(ended, prompt_of(5, 1), 12);
  with_end.end_ids = {end};
  const auto enough = std::make_shared<Listener>();
  enough->enough = 3;
  std::vector<SequenceRequest> requests;
  requests.push_back(std::move(with_end));
  requests.push_back(request_of(enough, prompt_of(5, 1), 12));
  ASSERT_TRUE(engine->submit(std::move(requests)));
  ended->wait();
  enough->wait();
  EXPECT_EQ(ended->ids.size(), first + 1);
  EXPECT_EQ(ended->reason, FinishReason::kEnd);
  EXPECT_EQ(enough->ids.size(), 3U);
  EXPECT_EQ(enough->reason, FinishReason::kEnd);
}

TEST(ContinuousEngineTest, AnAnswerMayFillTheContextAndNoMore) {
  const auto engine = open_or_die(small_options(2));
  const auto listener = std::make_shared<Listener>();
  const auto prompt = prompt_of(50, 1);
  ASSERT_TRUE(engine->submit({request_of(listener, prompt, -1)}));
  listener->wait();
  EXPECT_EQ(listener->ids.size(), engine->context_tokens() - prompt.size());
  EXPECT_EQ(listener->reason, FinishReason::kLength);
}

TEST(ContinuousEngineTest, WhoIsStoppedLeavesAndTheOthersGoOn) {
  const auto engine = open_or_die(small_options(3));
  std::vector<std::shared_ptr<Listener>> listeners;
  std::vector<SequenceRequest> requests;
  std::vector<std::stop_source> stops(5);
  for (std::size_t i = 0; i < 5; ++i) {
    listeners.push_back(std::make_shared<Listener>());
    requests.push_back(request_of(listeners.back(), prompt_of(10, i), 40));
    requests.back().stop = stops[i].get_token();
  }
  listeners[0]->hold_at = 5;
  ASSERT_TRUE(engine->submit(std::move(requests)));
  listeners[0]->wait_for_tokens(5);
  EXPECT_EQ(engine->running(), 3U);
  EXPECT_EQ(engine->waiting(), 2U);
  stops[0].request_stop();  // runs
  stops[3].request_stop();  // waits
  listeners[0]->let_go();
  for (const auto& listener : listeners) listener->wait();
  EXPECT_THAT(listeners[0]->error, HasSubstr("Stopped"));
  EXPECT_EQ(listeners[0]->ids.size(), 5U);
  EXPECT_THAT(listeners[3]->error, HasSubstr("Stopped"));
  EXPECT_TRUE(listeners[3]->ids.empty());
  for (const std::size_t i : {1, 2, 4}) EXPECT_EQ(listeners[i]->ids.size(), 40U) << i;
}

TEST(ContinuousEngineTest, TheEndOfTheEngineIsTold) {
  auto engine = open_or_die(small_options(1));
  const auto runs = std::make_shared<Listener>();
  const auto waits = std::make_shared<Listener>();
  std::vector<SequenceRequest> requests;
  requests.push_back(request_of(runs, prompt_of(10, 1), 200));
  requests.push_back(request_of(waits, prompt_of(10, 1), 200));
  ASSERT_TRUE(engine->submit(std::move(requests)));
  runs->wait_for_tokens(1);
  engine.reset();
  EXPECT_THAT(runs->error, HasSubstr("stopping"));
  EXPECT_THAT(waits->error, HasSubstr("stopping"));
}

TEST(ContinuousEngineTest, WhatCanNeverRunIsRefused) {
  ContinuousOptions options = small_options(1);
  options.most_waiting = 2;
  const auto engine = open_or_die(options);
  const auto listener = std::make_shared<Listener>();
  EXPECT_EQ(engine->submit({request_of(listener, {}, 5)}).error().fault, Fault::kCaller);
  EXPECT_EQ(engine->submit({request_of(listener, {1, 5000}, 5)}).error().fault, Fault::kCaller);
  EXPECT_EQ(engine->submit({request_of(listener, std::vector<TokenId>(256, 7), 1)}).error().fault, Fault::kCaller);
  EXPECT_EQ(engine->submit({request_of(listener, {1}, 5, -1)}).error().fault, Fault::kCaller);
  std::vector<SequenceRequest> three(3, request_of(listener, {1}, 5));
  EXPECT_EQ(engine->submit(std::move(three)).error().fault, Fault::kCaller);

  const auto runs = std::make_shared<Listener>();
  runs->hold_at = 1;
  ASSERT_TRUE(engine->submit({request_of(runs, {1}, 5)}));
  runs->wait_for_tokens(1);
  ASSERT_TRUE(engine->submit(std::vector<SequenceRequest>(1, request_of(std::make_shared<Listener>(), {1}, 5))));
  ASSERT_TRUE(engine->submit(std::vector<SequenceRequest>(1, request_of(std::make_shared<Listener>(), {1}, 5))));
  const auto full = engine->submit({request_of(listener, {1}, 5)});
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().fault, Fault::kWorld);
  runs->let_go();
}

TEST(ContinuousEngineTest, TheCachesSizeIsKnownBeforehand) {
  const auto bytes = cache_bytes_per_token(tiny_model(), KvType::kF16);
  ASSERT_TRUE(bytes);
  EXPECT_EQ(*bytes, 2U * 2U * 16U * 2U * 2U) << "layers, KV heads, width of a head, keys and values, bytes";
}

}  // namespace
}  // namespace retort::llama
