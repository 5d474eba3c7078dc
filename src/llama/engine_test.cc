#include "llama/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <filesystem>
#include <map>
#include <string>

#include "base/files.h"
#include "gguf/testing.h"

namespace retort::llama {
namespace {

using ::testing::HasSubstr;

const char* const kTeacher = RETORT_MODELS_DIR "/SmolLM2-135M-Instruct.Q4_1.gguf";

#define NEED_TEACHER() \
  if (!std::filesystem::exists(kTeacher)) GTEST_SKIP() << kTeacher << " is absent; `make setup` fetches it"

// A folder with a tiny model of random weights, made once.
const std::filesystem::path& tiny_model() {
  static const std::filesystem::path path = [] {
    const auto folder = std::filesystem::path(::testing::TempDir()) / ("retort_llama_" + std::to_string(getpid()));
    std::filesystem::create_directories(folder);
    const auto file = folder / "tiny.gguf";
    const auto written = gguf::testing::write_tiny_model(file, {});
    EXPECT_TRUE(written) << written.error().message;
    return file;
  }();
  return path;
}

EngineOptions small_options(std::size_t parallel = 4) {
  EngineOptions options;
  options.threads = 1;
  options.context_tokens = 256;
  options.parallel = parallel;
  options.batch_tokens = 64;
  options.kv = KvType::kF32;
  options.flash_attention = false;
  return options;
}

std::unique_ptr<Engine> open_or_die(const std::filesystem::path& path, const EngineOptions& options) {
  auto engine = Engine::open(path, options);
  EXPECT_TRUE(engine) << engine.error().message;
  if (!engine) std::abort();
  return std::move(*engine);
}

TokenRequest request_of(std::uint64_t tag, std::vector<TokenId> prompt, std::int32_t max_tokens, double temperature,
                        std::vector<TokenId> ends = {}) {
  TokenRequest request;
  request.tag = tag;
  request.prompt_ids = std::move(prompt);
  request.sampling.temperature = temperature;
  request.sampling.max_tokens = max_tokens;
  request.sampling.seed = 1000 + tag;
  request.end_ids = std::move(ends);
  return request;
}

class ListJob : public GenerationJob {
 public:
  explicit ListJob(std::vector<TokenRequest> requests) : waiting(requests.begin(), requests.end()) {}
  std::optional<TokenRequest> next() override {
    if (waiting.empty()) return std::nullopt;
    TokenRequest request = std::move(waiting.front());
    waiting.pop_front();
    ++in_flight;
    most_in_flight = std::max(most_in_flight, in_flight);
    return request;
  }
  Result<void> finished(std::uint64_t tag, TokenCompletion completion) override {
    --in_flight;
    EXPECT_EQ(streamed[tag], completion.ids) << "what is streamed is what is handed over";
    answers[tag] = std::move(completion);
    return {};
  }
  void sampled(std::uint64_t tag, TokenId id) override { streamed[tag].push_back(id); }

  std::deque<TokenRequest> waiting;
  std::map<std::uint64_t, TokenCompletion> answers;
  std::map<std::uint64_t, std::vector<TokenId>> streamed;
  std::size_t in_flight = 0;
  std::size_t most_in_flight = 0;
};

std::vector<TokenRequest> mixed_requests(std::size_t count, double temperature) {
  std::vector<TokenRequest> requests;
  for (std::size_t i = 0; i < count; ++i) {
    std::vector<TokenId> prompt = {1, 5, 9, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43};  // a common head
    for (std::size_t j = 0; j < 3 + 5 * (i % 4); ++j)
      prompt.push_back(static_cast<TokenId>(20 + (i * 13 + j * 7) % 200));
    requests.push_back(request_of(i, prompt, static_cast<std::int32_t>(5 + (i * 3) % 11), temperature));
  }
  return requests;
}

TEST(EngineTest, ManyAtOnceGiveWhatOneAtATimeGives) {
  const auto requests = mixed_requests(13, 0);
  auto many = open_or_die(tiny_model(), small_options(4));
  ListJob together(requests);
  const auto done = many->generate(together, {});
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(together.most_in_flight, 4U) << "the batch is kept full";
  ASSERT_EQ(together.answers.size(), requests.size());

  auto one = open_or_die(tiny_model(), small_options(1));
  ListJob apart(requests);
  ASSERT_TRUE(one->generate(apart, {}));
  for (const TokenRequest& request : requests) {
    EXPECT_EQ(together.answers.at(request.tag).ids, apart.answers.at(request.tag).ids) << "request " << request.tag;
    EXPECT_EQ(together.answers.at(request.tag).ids.size(), static_cast<std::size_t>(request.sampling.max_tokens));
    EXPECT_EQ(together.answers.at(request.tag).finish_reason, FinishReason::kLength);
  }
  const GenerationCounts counts = many->counts();
  EXPECT_GT(counts.reused_tokens, 10U * 12U) << "the common head is read once";
}

TEST(EngineTest, GreedyFollowsTheScorersLargestLogit) {
  auto engine = open_or_die(tiny_model(), small_options());
  ListJob job({request_of(0, {1, 7, 50, 51, 52}, 20, 0)});
  ASSERT_TRUE(engine->generate(job, {}));
  std::vector<TokenId> all = {1, 7, 50, 51, 52};
  const std::size_t prompt = all.size();
  for (const TokenId id : job.answers.at(0).ids) all.push_back(id);
  std::size_t seen = 0;
  ASSERT_TRUE(engine->score(all, prompt - 1, [&](const LogitRows& rows) -> Result<void> {
    for (std::size_t r = 0; r < rows.rows; ++r) {
      const std::size_t position = rows.first_position + r;
      if (position + 1 >= all.size()) continue;
      const auto row = rows.row(r);
      EXPECT_EQ(std::max_element(row.begin(), row.end()) - row.begin(), all[position + 1]) << position;
      ++seen;
    }
    return {};
  }));
  EXPECT_EQ(seen, 20U);
}

TEST(EngineTest, TheSameRequestsGiveTheSameTokens) {
  auto engine = open_or_die(tiny_model(), small_options(3));
  ListJob first(mixed_requests(8, 1.0));
  ListJob second(mixed_requests(8, 1.0));
  ASSERT_TRUE(engine->generate(first, {}));
  ASSERT_TRUE(engine->generate(second, {}));
  for (const auto& [tag, answer] : first.answers) EXPECT_EQ(answer.ids, second.answers.at(tag).ids);
  auto other_seed = mixed_requests(8, 1.0);
  for (TokenRequest& request : other_seed) request.sampling.seed += 1;
  ListJob third(other_seed);
  ASSERT_TRUE(engine->generate(third, {}));
  EXPECT_NE(first.answers.at(0).ids, third.answers.at(0).ids);
}

TEST(EngineTest, AnEndIdEndsAndIsReturned) {
  auto engine = open_or_die(tiny_model(), small_options());
  ListJob probe({request_of(0, {1, 7, 50}, 12, 0)});
  ASSERT_TRUE(engine->generate(probe, {}));
  const std::vector<TokenId> ids = probe.answers.at(0).ids;
  const TokenId end = ids[5];
  const auto first = static_cast<std::size_t>(std::find(ids.begin(), ids.end(), end) - ids.begin());
  ListJob job({request_of(0, {1, 7, 50}, 12, 0, {end})});
  ASSERT_TRUE(engine->generate(job, {}));
  EXPECT_EQ(job.answers.at(0).finish_reason, FinishReason::kEnd);
  EXPECT_EQ(job.answers.at(0).ids, std::vector<TokenId>(ids.begin(), ids.begin() + static_cast<long>(first) + 1));
}

// An answer leads to a request, as a sampled user's turn does.
class ChainJob : public ListJob {
 public:
  using ListJob::ListJob;
  Result<void> finished(std::uint64_t tag, TokenCompletion completion) override {
    if (tag < 100) {
      std::vector<TokenId> prompt = prompts.at(tag);
      prompt.insert(prompt.end(), completion.ids.begin(), completion.ids.end());
      prompt.push_back(77);
      prompt.push_back(78);
      waiting.push_back(request_of(tag + 100, prompt, 6, 0));
    }
    return ListJob::finished(tag, std::move(completion));
  }
  std::map<std::uint64_t, std::vector<TokenId>> prompts;
};

TEST(EngineTest, AnAnswerMayLeadToARequestThatGoesOnInItsSlot) {
  auto engine = open_or_die(tiny_model(), small_options(2));
  const auto requests = mixed_requests(5, 0);
  ChainJob job(requests);
  for (const TokenRequest& request : requests) job.prompts[request.tag] = request.prompt_ids;
  ASSERT_TRUE(engine->generate(job, {}));
  ASSERT_EQ(job.answers.size(), 10U);
  auto fresh = open_or_die(tiny_model(), small_options(1));
  for (const TokenRequest& request : requests) {
    std::vector<TokenId> prompt = request.prompt_ids;
    const auto& first = job.answers.at(request.tag).ids;
    prompt.insert(prompt.end(), first.begin(), first.end());
    prompt.push_back(77);
    prompt.push_back(78);
    ListJob again({request_of(0, prompt, 6, 0)});
    ASSERT_TRUE(fresh->generate(again, {}));
    EXPECT_EQ(again.answers.at(0).ids, job.answers.at(request.tag + 100).ids) << request.tag;
  }
}

TEST(EngineTest, BadRequestsAreRefusedWithBothNumbers) {
  auto engine = open_or_die(tiny_model(), small_options());
  ListJob empty({request_of(0, {}, 5, 0)});
  EXPECT_FALSE(engine->generate(empty, {}));
  ListJob too_long({request_of(0, std::vector<TokenId>(300, 5), 5, 0)});
  const auto refused = engine->generate(too_long, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().fault, Fault::kCaller);
  EXPECT_THAT(refused.error().message, HasSubstr("300"));
  EXPECT_THAT(refused.error().message, HasSubstr("256"));
  ListJob outside({request_of(0, {1, 1'000'000}, 5, 0)});
  EXPECT_THAT(engine->generate(outside, {}).error().message, HasSubstr("1000000"));
  ListJob negative({request_of(0, {-1}, 5, 0)});
  EXPECT_FALSE(engine->generate(negative, {}));
  auto bad_sampling = request_of(0, {1, 2}, 5, 0.5);
  bad_sampling.sampling.top_p = 2;
  ListJob sampling({bad_sampling});
  EXPECT_THAT(engine->generate(sampling, {}).error().message, HasSubstr("top_p"));
  // And it still works afterwards.
  ListJob fine({request_of(0, {1, 7}, 3, 0)});
  EXPECT_TRUE(engine->generate(fine, {}));
}

TEST(EngineTest, AnAnswerStopsWhereTheContextIsFull) {
  auto engine = open_or_die(tiny_model(), small_options(1));
  ListJob job({request_of(0, std::vector<TokenId>(250, 5), 0, 0)});
  ASSERT_TRUE(engine->generate(job, {}));
  EXPECT_EQ(job.answers.at(0).ids.size(), 6U);
  EXPECT_EQ(job.answers.at(0).finish_reason, FinishReason::kLength);
}

class StoppingJob : public ListJob {
 public:
  StoppingJob(std::vector<TokenRequest> requests, std::stop_source& source) : ListJob(requests), source_(source) {}
  Result<void> finished(std::uint64_t tag, TokenCompletion completion) override {
    source_.request_stop();
    return ListJob::finished(tag, std::move(completion));
  }

 private:
  std::stop_source& source_;
};

TEST(EngineTest, AStopKeepsWhatWasHandedOver) {
  auto engine = open_or_die(tiny_model(), small_options(2));
  std::stop_source source;
  StoppingJob job(mixed_requests(10, 0), source);
  const auto stopped = engine->generate(job, source.get_token());
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().fault, Fault::kInterrupted);
  EXPECT_GE(job.answers.size(), 1U);
  EXPECT_LT(job.answers.size(), 10U);
}

TEST(EngineTest, AnErrorOfTheSinkEndsTheGeneration) {
  class FullDisk : public ListJob {
   public:
    using ListJob::ListJob;
    Result<void> finished(std::uint64_t, TokenCompletion) override { return world_error("disk full"); }
  };
  auto engine = open_or_die(tiny_model(), small_options(2));
  FullDisk job(mixed_requests(4, 0));
  const auto failed = engine->generate(job, {});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message, "disk full");
}

TEST(EngineTest, ScoringInPiecesEqualsScoringTokenByToken) {
  EngineOptions options = small_options(1);
  options.batch_tokens = 16;  // several pieces
  auto pieces = open_or_die(tiny_model(), options);
  options.batch_tokens = 1;
  auto single = open_or_die(tiny_model(), options);
  std::vector<TokenId> ids;
  for (int i = 0; i < 50; ++i) ids.push_back(static_cast<TokenId>(10 + (i * 37) % 200));
  std::map<std::size_t, std::vector<float>> rows[2];
  std::size_t which = 0;
  const auto keep = [&](const LogitRows& chunk) -> Result<void> {
    for (std::size_t r = 0; r < chunk.rows; ++r) {
      const auto row = chunk.row(r);
      EXPECT_TRUE(rows[which].emplace(chunk.first_position + r, std::vector<float>(row.begin(), row.end())).second);
    }
    return {};
  };
  ASSERT_TRUE(pieces->score(ids, 21, keep));
  which = 1;
  ASSERT_TRUE(single->score(ids, 21, keep));
  ASSERT_EQ(rows[0].size(), 29U);
  EXPECT_EQ(rows[0].begin()->first, 21U);
  for (const auto& [position, row] : rows[0]) {
    const auto& other = rows[1].at(position);
    double largest = 0;
    for (std::size_t v = 0; v < row.size(); ++v)
      largest = std::max(largest, std::abs(double(row[v]) - double(other[v])));
    EXPECT_LT(largest, 1e-3) << position;
  }
}

TEST(EngineTest, ScoringRefusesWhatDoesNotFit) {
  auto engine = open_or_die(tiny_model(), small_options(1));
  const auto nothing = [](const LogitRows&) -> Result<void> { return world_error("visited"); };
  EXPECT_TRUE(engine->score({}, 0, nothing)) << "an empty sequence visits nothing";
  const std::vector<TokenId> long_ids(257, 5);
  EXPECT_THAT(engine->score(long_ids, 0, nothing).error().message, HasSubstr("257"));
  EXPECT_THAT(engine->score(std::vector<TokenId>{-3}, 0, nothing).error().message, HasSubstr("-3"));
  EXPECT_EQ(engine->score(std::vector<TokenId>{3, 4}, 0, nothing).error().message, "visited");
}

#if defined(__x86_64__)
bool has_amx() {
  const auto text = read_file("/proc/cpuinfo");
  return text && text->find("amx_int8") != std::string::npos;
}

TEST(EngineTest, SurvivesAnotherLibraryThatReleasesTheTiles) {
  if (!has_amx()) GTEST_SKIP() << "this processor has no AMX";
  const auto path = tiny_model().parent_path() / "tiny_q8_0.gguf";
  gguf::testing::TinyModelOptions tiny;
  tiny.type = gguf::TensorType::kQ8_0;
  ASSERT_TRUE(gguf::testing::write_tiny_model(path, tiny));
  auto engine = open_or_die(path, small_options(1));
  const std::vector<TokenId> ids(48, 40);
  const auto look = [](const LogitRows& rows) -> Result<void> {
    EXPECT_TRUE(std::isfinite(rows.data[0]));
    return {};
  };
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(engine->score(ids, 0, look));
    __asm__ volatile(".byte 0xc4, 0xe2, 0x78, 0x49, 0xc0");  // tilerelease, as libtorch's kernels end
  }
}
#endif

TEST(EngineTest, FilesAndOptionsAreCheckedBeforeLlamaSeesThem) {
  const auto folder = tiny_model().parent_path();
  EXPECT_EQ(Engine::open(folder / "absent.gguf", {}).error().fault, Fault::kCaller);
  ASSERT_TRUE(write_file(folder / "text.gguf", "this is no model"));
  EXPECT_FALSE(Engine::open(folder / "text.gguf", small_options()));
  gguf::testing::TinyModelOptions other;
  other.architecture = "mamba";
  ASSERT_TRUE(gguf::testing::write_tiny_model(folder / "mamba.gguf", other));
  EXPECT_THAT(Engine::open(folder / "mamba.gguf", small_options()).error().message, HasSubstr("mamba"));

  // llama.cpp knows no window of this architecture: only a context within it is what the file means.
  ASSERT_TRUE(gguf::testing::write_tiny_model(folder / "window.gguf", {.window = 300}));
  EngineOptions beyond = small_options();
  beyond.context_tokens = 301;
  EXPECT_THAT(Engine::open(folder / "window.gguf", beyond).error().message, HasSubstr("sliding_window"));
  beyond.context_tokens = 0;
  EXPECT_EQ(open_or_die(folder / "window.gguf", beyond)->context_tokens(), 300U);
  auto options = small_options();
  options.context_tokens = 100'000;
  EXPECT_THAT(Engine::open(tiny_model(), options).error().message, HasSubstr("100,000"));
  options = small_options();
  options.parallel = 0;
  EXPECT_FALSE(Engine::open(tiny_model(), options));
  options.parallel = 257;
  EXPECT_FALSE(Engine::open(tiny_model(), options));
  options = small_options(4);
  options.batch_tokens = 3;
  EXPECT_FALSE(Engine::open(tiny_model(), options));
  options = small_options();
  options.threads = -1;
  EXPECT_FALSE(Engine::open(tiny_model(), options));
}

TEST(EngineTest, TheTeacherAnswersTheSameAloneAndInACrowd) {
  NEED_TEACHER();
  EngineOptions options;
  options.threads = 1;  // two that share a busy core wait for each other
  options.context_tokens = 256;
  options.parallel = 8;
  options.batch_tokens = 128;
  auto engine = open_or_die(kTeacher, options);
  // "<|im_start|>user\n<words><|im_end|>\n<|im_start|>assistant\n" in SmolLM2's ids, words by their numbers.
  std::vector<TokenRequest> requests;
  for (TokenId i = 0; i < 9; ++i) {
    std::vector<TokenId> prompt = {1, 4093, 198, 1780 + 37 * i, 314, 260 + i, 30, 2, 198, 1, 520, 9531, 198};
    requests.push_back(request_of(static_cast<std::uint64_t>(i), prompt, 12, 0, {2}));
  }
  ListJob crowd(requests);
  ASSERT_TRUE(engine->generate(crowd, {}));
  std::size_t agreeing = 0;
  for (const TokenRequest& request : requests) {
    ListJob alone({request});
    ASSERT_TRUE(engine->generate(alone, {}));
    // Rounding differs with the batch's shape, so a near tie may fall the other way: the first tokens must agree.
    ASSERT_FALSE(alone.answers.at(request.tag).ids.empty());
    EXPECT_EQ(alone.answers.at(request.tag).ids[0], crowd.answers.at(request.tag).ids[0]);
    agreeing += alone.answers.at(request.tag).ids == crowd.answers.at(request.tag).ids ? 1 : 0;
  }
  EXPECT_GE(agreeing, 6U) << "of " << requests.size();
}

}  // namespace
}  // namespace retort::llama
