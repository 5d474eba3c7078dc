#include "collect/collect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <deque>
#include <filesystem>
#include <functional>
#include <set>

#include "base/files.h"
#include "base/json.h"
#include "gguf/testing.h"

namespace retort::collect {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Answers requests by a function, `parallel` of them at a time, in the way an engine does.
class ScriptedGenerator final : public TokenGenerator {
 public:
  using Script = std::function<TokenCompletion(const TokenRequest&)>;
  explicit ScriptedGenerator(Script script, std::size_t parallel = 3)
      : script_(std::move(script)), parallel_(parallel) {}

  Result<void> generate(GenerationJob& job, std::stop_token stop) override {
    std::deque<TokenRequest> flying;
    while (true) {
      while (flying.size() < parallel_) {
        auto request = job.next();
        if (!request) break;
        requests.push_back(*request);
        flying.push_back(std::move(*request));
      }
      if (flying.empty()) return {};
      if (stop.stop_requested()) return interrupted("Stopped.");
      const TokenRequest request = std::move(flying.front());
      flying.pop_front();
      TokenCompletion completion = script_(request);
      for (const TokenId id : completion.ids) job.sampled(request.tag, id);
      RETORT_TRY(job.finished(request.tag, std::move(completion)));
    }
  }
  std::size_t context_tokens() const override { return 512; }

  std::vector<TokenRequest> requests;

 private:
  Script script_;
  std::size_t parallel_;
};

class CollectTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        std::filesystem::path(::testing::TempDir()) / ("retort_collect_" + std::to_string(getpid()) + "_" +
                                                       ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    ASSERT_TRUE(gguf::testing::write_tiny_model(folder_ / "tiny.gguf", {}));
    auto format = tokens::ChatFormat::load(folder_ / "tiny.gguf");
    ASSERT_TRUE(format) << format.error().message;
    format_.emplace(std::move(*format));
    source_.model.name = "tiny";
    source_.terms = "apache-2.0: allowed";
    options_.count = 7;
    options_.max_tokens = 20;
    options_.max_user_tokens = 30;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  store::ExchangeStore open_store() {
    auto opened = store::ExchangeStore::open(folder_ / "exchanges.sqlite");
    EXPECT_TRUE(opened) << opened.error().message;
    return std::move(*opened);
  }
  std::vector<TokenId> ids_of(std::string_view text) const { return *format_->tokenizer().encode(text); }
  bool asks_for_user(const TokenRequest& request) const { return request.prompt_ids == *format_->user_turn_prefix({}); }
  // A user's turn or answer that says which seed drew it.
  TokenCompletion turn(const TokenRequest& request) const {
    std::vector<TokenId> ids =
        ids_of((asks_for_user(request) ? "ask " : "say ") + std::to_string(request.sampling.seed % 1000));
    ids.push_back(request.end_ids.front());
    return {ids, FinishReason::kEnd};
  }
  ScriptedGenerator speaking() const {
    return ScriptedGenerator([this](const TokenRequest& request) { return turn(request); });
  }
  Result<CollectSummary> run(TokenGenerator& generator, store::ExchangeStore& exchanges, std::stop_token stop = {}) {
    std::optional<PromptSpool> prompts;
    if (!options_.self_generated()) {
      RETORT_ASSIGN(prompts, PromptSpool::make(options_, folder_));
    }
    return collect(generator, *format_, source_, options_, prompts ? &*prompts : nullptr, exchanges, clock_, progress_,
                   stop);
  }
  void use_file(const std::string& name, std::string_view text) {
    ASSERT_TRUE(write_file(folder_ / name, text));
    options_.prompts = PromptSource{};
    options_.prompts.file = (folder_ / name).string();
    options_.count = 0;
  }

  std::filesystem::path folder_;
  std::optional<tokens::ChatFormat> format_;
  Source source_;
  CollectOptions options_;
  SystemClock clock_;
  SilentProgress progress_;
};

TEST_F(CollectTest, SelfGeneratedExchangesKeepTheSampledIdsAndTheirProvenance) {
  auto exchanges = open_store();
  ScriptedGenerator generator = speaking();
  const auto summary = run(generator, exchanges);
  ASSERT_TRUE(summary) << summary.error().message;
  ASSERT_EQ(summary->ids.size(), 7U);
  EXPECT_EQ(summary->asked, 7);
  EXPECT_EQ(generator.requests.size(), 14U);
  std::set<std::string> prompts;
  for (const Digest& id : summary->ids) {
    const auto exchange = exchanges.get(id);
    ASSERT_TRUE(exchange);
    ASSERT_EQ(exchange->prompt.messages.size(), 1U);
    prompts.insert(exchange->prompt.messages[0].content);
    EXPECT_THAT(exchange->prompt.messages[0].content, ::testing::StartsWith("ask "));
    EXPECT_THAT(exchange->completion.text, ::testing::StartsWith("say "));
    EXPECT_EQ(exchange->completion.finish_reason, FinishReason::kEnd);
    EXPECT_EQ(exchange->provenance.prompt_source, "self_generated");
    EXPECT_EQ(exchange->provenance.generated_by, GeneratedBy::kTeacher);
    EXPECT_EQ(exchange->provenance.terms, "apache-2.0: allowed");
    EXPECT_EQ(exchange->provenance.model->name, "tiny");
    EXPECT_EQ(exchange->provenance.sampling->max_tokens, 20);
    // The spans hold exactly what was sampled, end ids included.
    int sampled_spans = 0;
    for (const TokenSpan& span : exchange->tokens.spans) {
      if (!span.sampled) continue;
      ++sampled_spans;
      const std::vector<TokenId> ids(exchange->tokens.ids.begin() + span.begin,
                                     exchange->tokens.ids.begin() + span.end);
      std::vector<TokenId> expected =
          ids_of(span.kind == SpanKind::kUser ? exchange->prompt.messages[0].content : exchange->completion.text);
      expected.push_back(span.kind == SpanKind::kUser ? format_->user_end_ids()->front() : format_->end_ids().front());
      EXPECT_EQ(ids, expected);
    }
    EXPECT_EQ(sampled_spans, 2);
    // The template's default system message is part of what the teacher saw.
    EXPECT_THAT(format_->tokenizer().decode(exchange->tokens.ids), HasSubstr("system"));
  }
  EXPECT_EQ(prompts.size(), 7U) << "each slot has its own seed";
  EXPECT_GT(summary->full.sampled_tokens, 0);
  EXPECT_GT(summary->tail.sampled_tokens, 0);
  EXPECT_EQ(summary->full.sampled_tokens + summary->tail.sampled_tokens, summary->user_tokens + summary->answer_tokens);
}

TEST_F(CollectTest, WhatIsStoredIsNotAskedAgain) {
  auto exchanges = open_store();
  ScriptedGenerator first = speaking();
  const auto before = run(first, exchanges);
  ASSERT_TRUE(before);
  ScriptedGenerator second = speaking();
  const auto again = run(second, exchanges);
  ASSERT_TRUE(again);
  EXPECT_TRUE(second.requests.empty());
  EXPECT_EQ(again->ids, before->ids);
  EXPECT_EQ(again->reused, 7);
  EXPECT_EQ(again->answer_tokens, before->answer_tokens);

  options_.count = 9;  // more of the same: only the new ones
  ScriptedGenerator third = speaking();
  const auto more = run(third, exchanges);
  ASSERT_TRUE(more);
  EXPECT_EQ(more->asked, 2);
  EXPECT_TRUE(std::equal(before->ids.begin(), before->ids.end(), more->ids.begin()));

  options_.temperature = 0.7;  // something else: all anew
  ScriptedGenerator fourth = speaking();
  EXPECT_EQ(run(fourth, exchanges)->asked, 9);
}

TEST_F(CollectTest, KilledInTheMiddleLosesNothingThatWasFinished) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto exchanges = open_store();
    int answers = 0;
    ScriptedGenerator dying([&](const TokenRequest& request) {
      if (!asks_for_user(request) && ++answers == 5) ::raise(SIGKILL);
      return turn(request);
    });
    (void)run(dying, exchanges);
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  auto exchanges = open_store();
  EXPECT_EQ(*exchanges.count(), 4);
  ScriptedGenerator generator = speaking();
  const auto summary = run(generator, exchanges);
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->reused, 4);
  EXPECT_EQ(summary->asked, 3);
  EXPECT_EQ(summary->ids.size(), 7U);
  EXPECT_EQ(*exchanges.count(), 7);

  // The same slots ask the same things as in a run that was never killed.
  auto other = store::ExchangeStore::open(folder_ / "other.sqlite");
  ASSERT_TRUE(other);
  ScriptedGenerator unbroken = speaking();
  const auto reference = run(unbroken, *other);
  ASSERT_TRUE(reference);
  for (std::size_t i = 0; i < 7; ++i) {
    EXPECT_EQ(exchanges.get(summary->ids[i])->tokens, other->get(reference->ids[i])->tokens) << "slot " << i;
  }
}

TEST_F(CollectTest, AStopKeepsWhatIsFinished) {
  auto exchanges = open_store();
  std::stop_source source;
  int answers = 0;
  ScriptedGenerator generator([&](const TokenRequest& request) {
    if (!asks_for_user(request) && ++answers == 2) source.request_stop();
    return turn(request);
  });
  const auto stopped = run(generator, exchanges, source.get_token());
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().fault, Fault::kInterrupted);
  EXPECT_EQ(*exchanges.count(), 2);
}

TEST_F(CollectTest, EmptyEndlessAndBrokenUserTurnsAreDrawnAgainAndCounted) {
  auto exchanges = open_store();
  int users = 0;
  ScriptedGenerator generator([&](const TokenRequest& request) -> TokenCompletion {
    if (!asks_for_user(request)) return turn(request);
    switch (users++) {
      case 0: return {{request.end_ids.front()}, FinishReason::kEnd};
      case 1: {
        auto ids = ids_of("  \n");
        ids.push_back(request.end_ids.front());
        return {ids, FinishReason::kEnd};
      }
      case 2: return {ids_of("and so on and on"), FinishReason::kLength};
      case 3: {
        std::vector<TokenId> ids = ids_of("hello");
        ids.push_back(*format_->tokenizer().special_id("<|im_start|>"));
        ids.push_back(request.end_ids.front());
        return {ids, FinishReason::kEnd};
      }
      default: return turn(request);
    }
  });
  const auto summary = run(generator, exchanges);
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->ids.size(), 7U);
  EXPECT_EQ(summary->empty_user_turns, 2);
  EXPECT_EQ(summary->long_user_turns, 1);
  EXPECT_EQ(summary->broken_user_turns, 1);
  EXPECT_EQ(summary->slots_given_up, 0);
  std::set<std::uint64_t> seeds;
  for (const TokenRequest& request : generator.requests) seeds.insert(request.sampling.seed);
  EXPECT_EQ(seeds.size(), generator.requests.size()) << "another draw has another seed";
}

TEST_F(CollectTest, ASlotIsGivenUpInTheEndAndNotTriedForEver) {
  auto exchanges = open_store();
  options_.attempts = 2;
  ScriptedGenerator generator([&](const TokenRequest& request) {
    return TokenCompletion{{request.end_ids.front()}, FinishReason::kEnd};
  });
  const auto summary = run(generator, exchanges);
  ASSERT_TRUE(summary);
  EXPECT_TRUE(summary->ids.empty());
  EXPECT_EQ(summary->slots_given_up, 7);
  const auto again = run(generator, exchanges);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->slots_given_up, 7);  // not asked for once more, and still said
  EXPECT_EQ(generator.requests.size(), 14U);
}

TEST_F(CollectTest, ACutAnswerKeepsItsTokensAndGetsNoEnd) {
  auto exchanges = open_store();
  options_.count = 1;
  ScriptedGenerator generator([&](const TokenRequest& request) -> TokenCompletion {
    if (asks_for_user(request)) return turn(request);
    return {ids_of("an answer that is cu"), FinishReason::kLength};
  });
  const auto summary = run(generator, exchanges);
  ASSERT_TRUE(summary);
  EXPECT_EQ(summary->truncated_answers, 1);
  const auto exchange = exchanges.get(summary->ids[0]);
  EXPECT_EQ(exchange->completion.text, "an answer that is cu");
  EXPECT_EQ(exchange->completion.finish_reason, FinishReason::kLength);
  const std::vector<TokenId> answer = ids_of("an answer that is cu");
  ASSERT_GE(exchange->tokens.ids.size(), answer.size());
  EXPECT_TRUE(std::equal(answer.rbegin(), answer.rend(), exchange->tokens.ids.rbegin())) << "nothing follows";
}

TEST_F(CollectTest, FileRowsAreAnsweredOrTakenAsTheyAre) {
  use_file("p.jsonl", R"({"prompt": "Hello"}
{"prompt": "2+2?", "completion": "4"}
{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]})");
  auto exchanges = open_store();
  ScriptedGenerator generator = speaking();
  const auto summary = run(generator, exchanges);
  ASSERT_TRUE(summary) << summary.error().message;
  ASSERT_EQ(summary->ids.size(), 3U);
  EXPECT_EQ(summary->from_file, 1);
  EXPECT_EQ(summary->asked, 2);
  const auto own = exchanges.get(summary->ids[1]);
  EXPECT_EQ(own->completion.text, "4");
  EXPECT_EQ(own->provenance.generated_by, GeneratedBy::kFile);
  EXPECT_EQ(own->provenance.prompt_source, "p.jsonl");
  EXPECT_FALSE(own->provenance.model);
  for (const TokenSpan& span : own->tokens.spans) EXPECT_FALSE(span.sampled);
  const auto asked = exchanges.get(summary->ids[2]);
  EXPECT_EQ(asked->prompt.messages.size(), 2U);
  EXPECT_EQ(asked->provenance.generated_by, GeneratedBy::kTeacher);
  ScriptedGenerator again = speaking();
  EXPECT_EQ(run(again, exchanges)->reused, 3);
  EXPECT_TRUE(again.requests.empty());
}

TEST_F(CollectTest, SeveralSamplesAPromptHaveSeedsOfTheirOwn) {
  use_file("p.jsonl", R"({"prompt": "Hello"}
{"prompt": "2+2?", "completion": "4"}
{"prompt": "Bye"})");
  options_.samples_per_prompt = 3;
  auto exchanges = open_store();
  ScriptedGenerator generator = speaking();
  const auto summary = run(generator, exchanges);
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->asked, 6);
  EXPECT_EQ(summary->from_file, 1) << "there is nothing to sample";
  ASSERT_EQ(summary->ids.size(), 7U);
  std::set<std::uint64_t> seeds;
  for (const TokenRequest& request : generator.requests) seeds.insert(request.sampling.seed);
  EXPECT_EQ(seeds.size(), 6U);
  EXPECT_EQ(exchanges.get(summary->ids[2])->prompt.messages[0].content, "Hello");
  EXPECT_EQ(exchanges.get(summary->ids[3])->completion.text, "4");
  EXPECT_EQ(exchanges.get(summary->ids[4])->prompt.messages[0].content, "Bye");
  ScriptedGenerator again = speaking();
  EXPECT_EQ(run(again, exchanges)->ids, summary->ids);
  EXPECT_TRUE(again.requests.empty());
}

// The name of a collection decides what is asked again: those of one sample keep theirs.
TEST_F(CollectTest, ACollectionOfOneSampleKeepsItsName) {
  const std::string text = "{\"prompt\": \"Hello\"}\n";
  use_file("p.jsonl", text);
  auto exchanges = open_store();
  ScriptedGenerator generator = speaking();
  ASSERT_TRUE(run(generator, exchanges));
  const Json parts = {{"version", 1},
                      {"model", source_.model.file_digest.hex()},
                      {"template", format_->template_digest().hex()},
                      {"tokenizer", format_->tokenizer().fingerprint().hex()},
                      {"prompts", sha256(text).hex()},
                      {"max_tokens", 20},
                      {"max_user_tokens", 0},
                      {"temperature", 0.8},
                      {"top_p", 0.95},
                      {"top_k", 0},
                      {"min_p", 0.0},
                      {"seed", 1},
                      {"system", ""}};
  const auto slots = exchanges.slots("collect-" + sha256(canonical_json(parts)).hex());
  ASSERT_TRUE(slots);
  EXPECT_EQ(slots->size(), 1U);
}

TEST_F(CollectTest, WhatIsMaskedIsStoredNowhere) {
  use_file("p.jsonl", R"({"prompt": "I am ada@example.com"}
{"prompt": "Who?", "completion": "ada@example.com"}
{"prompt": ada@example.com})");
  options_.prompts.skip_broken = true;
  {
    auto exchanges = open_store();
    ScriptedGenerator generator = speaking();
    const auto summary = run(generator, exchanges);
    ASSERT_TRUE(summary) << summary.error().message;
    EXPECT_EQ(summary->intake.personal_data.of(PersonalKind::kEmail), 2);
    EXPECT_EQ(summary->intake.file.skipped, 1);
    EXPECT_EQ(exchanges.get(summary->ids[0])->prompt.messages[0].content, "I am [EMAIL]");
    EXPECT_EQ(exchanges.get(summary->ids[1])->completion.text, "[EMAIL]");
    ASSERT_TRUE(exchanges.checkpoint());
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
    if (entry.path().filename() == "p.jsonl") continue;
    EXPECT_EQ(read_file(entry.path())->find("ada@example"), std::string::npos) << entry.path();
  }
}

TEST_F(CollectTest, ToolsAreRefusedWithTheirLineRatherThanLost) {
  const std::string tools = R"("tools": [{"name": "weather"}])";
  const std::string call = R"({"role": "assistant", "tool_calls": [{"function": {"name": "weather"}}]})";
  auto exchanges = open_store();
  ScriptedGenerator generator = speaking();
  for (const std::string& row :
       {"{\"prompt\": \"Rain?\", " + tools + "}", "{\"prompt\": \"Rain?\", \"completion\": \"No.\", " + tools + "}",
        R"({"messages": [{"role": "user", "content": "Rain?"}, )" + call + "]}"}) {
    use_file("p.jsonl", "{\"prompt\": \"fine\"}\n" + row);
    const auto refused = run(generator, exchanges);
    ASSERT_FALSE(refused) << row;
    EXPECT_THAT(refused.error().message, AllOf(HasSubstr("line 2"), HasSubstr("tools"), HasSubstr("api")));
  }
  EXPECT_TRUE(generator.requests.empty());
}

TEST_F(CollectTest, ASystemMessageGoesBeforeRowsThatHaveNone) {
  use_file("p.jsonl", R"({"prompt": "Hello"}
{"messages": [{"role": "system", "content": "Own."}, {"role": "user", "content": "Hi"}]})");
  options_.system = "Given.";
  auto exchanges = open_store();
  ScriptedGenerator generator = speaking();
  const auto summary = run(generator, exchanges);
  ASSERT_TRUE(summary);
  EXPECT_EQ(exchanges.get(summary->ids[0])->prompt.messages[0].content, "Given.");
  EXPECT_EQ(exchanges.get(summary->ids[1])->prompt.messages[0].content, "Own.");
}

TEST_F(CollectTest, APromptLongerThanTheContextIsRefusedWithItsLine) {
  use_file("p.jsonl", "{\"prompt\": \"short\"}\n{\"prompt\": \"" + std::string(3000, 'x') + "\"}\n");
  auto exchanges = open_store();
  ScriptedGenerator generator = speaking();
  const auto refused = run(generator, exchanges);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().fault, Fault::kCaller);
  EXPECT_THAT(refused.error().message, AllOf(HasSubstr("p.jsonl, line 2"), HasSubstr("512"), HasSubstr("20")));
  EXPECT_TRUE(generator.requests.empty()) << "nothing is asked before all is checked";
}

TEST_F(CollectTest, OptionsThatCannotWorkAreRefused) {
  auto exchanges = open_store();
  ScriptedGenerator generator = speaking();
  options_.count = 0;
  EXPECT_THAT(run(generator, exchanges).error().message, HasSubstr("collect.count"));
  options_.count = 3;
  options_.temperature = 0;
  EXPECT_THAT(run(generator, exchanges).error().message, HasSubstr("collect.temperature"));
  options_.temperature = 0.8;
  options_.max_tokens = 500;
  EXPECT_THAT(run(generator, exchanges).error().message, HasSubstr("collect.max_tokens"));
  use_file("empty.jsonl", "\n");
  EXPECT_THAT(run(generator, exchanges).error().message, HasSubstr("empty"));
}

}  // namespace
}  // namespace retort::collect
