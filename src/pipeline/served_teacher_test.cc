// A teacher behind an API: what a recipe may ask of it, what a run is known by, and how its answers are read.
// tests/system/served_recipe_test.py takes whole runs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/files.h"
#include "dataset/example.h"
#include "gguf/testing.h"
#include "pipeline/run_files.h"
#include "pipeline/run_options.h"
#include "pipeline/stage.h"
#include "pipeline/teacher.h"

namespace retort::pipeline {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kServed = "teacher: {api: openai, endpoints: [{url: 'http://127.0.0.1:1/v1'}], model: some-model";

class ServedTeacherTest : public testing::Test {
 protected:
  ServedTeacherTest() : folder_(std::filesystem::path(testing::TempDir()) / ("served_" + std::to_string(getpid()))) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_ / "collect");
    EXPECT_TRUE(gguf::testing::write_tiny_model(folder_ / "tiny.gguf", {}));
    EXPECT_TRUE(gguf::testing::write_tiny_model(folder_ / "other.gguf", {.seed = 5}));
    EXPECT_TRUE(write_file(folder_ / "prompts.txt", "hello you\n"));
  }
  ~ServedTeacherTest() override { std::filesystem::remove_all(folder_); }

  // `file`: the teacher's, at hand too; empty: its text alone, with a student of tiny.gguf.
  Result<recipe::Recipe> parse(const std::string& file, const std::vector<std::string>& overrides = {}) const {
    std::string yaml = std::string("name: test\n") + kServed + (file.empty() ? "" : ", file: " + path(file)) + "}\n";
    yaml += "collect: {prompts: {file: " + path("prompts.txt") + ", format: lines}, count: 0}\n";
    yaml += "terms: {accepted_by: me, accepted_licence: apache-2.0}\n";
    yaml += file.empty() ? "student: {from: " + path("tiny.gguf") + "}\ntrain: {objective: ce}\n"
                         : std::string("student: {layers: 1}\n");
    return recipe::Recipe::parse(yaml, "test.yaml", recipe_schema(), overrides);
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::string refusal(const std::string& file, const std::vector<std::string>& overrides) const {
    const auto recipe = parse(file, overrides);
    return recipe ? std::string("accepted") : recipe.error().message;
  }
  Models open(const recipe::Recipe& recipe) const {
    auto models = open_models(recipe, folder_ / "cache", clock_);
    EXPECT_TRUE(models) << models.error().message;
    return std::move(*models);
  }
  std::string collect_key(const recipe::Recipe& recipe) const {
    return stage_key(stages()[0], recipe, open(recipe), Manifest()).value().hex();
  }

  std::filesystem::path folder_;
  SystemClock clock_;
};

TEST_F(ServedTeacherTest, TextAloneRefusesWhatNeedsProbabilities) {
  EXPECT_EQ(refusal("", {}), "accepted");
  EXPECT_EQ(refusal("", {"train.signal=text"}), "accepted");
  EXPECT_EQ(refusal("", {"student.layers=1"}), "accepted");
  for (const char* objective : {"forward_kl", "reverse_kl", "jsd", "{ce: 0.5, forward_kl: 0.5}"}) {
    EXPECT_THAT(refusal("", {std::string("train.objective=") + objective}),
                testing::AllOf(HasSubstr("train.objective"), HasSubstr("expected ce"), HasSubstr("teacher.file")))
        << objective;
  }
  for (const char* override_text :
       {"train.signal=sampled", "train.signal=top_k", "train.hidden_state_weight=1", "train.on_policy_from=0.5"}) {
    const std::string key = std::string(override_text).substr(0, std::string(override_text).find('='));
    EXPECT_THAT(refusal("", {override_text}), testing::AllOf(HasSubstr(key), HasSubstr("gives its text alone")));
  }
  EXPECT_THAT(refusal("", {"student.from=", "student.layers=1"}), HasSubstr("student.from"));
  EXPECT_EQ(refusal("", {"collect.prompts=self_generated", "collect.count=200"}), "accepted")
      << "a chat API is asked for prompts";
}

TEST_F(ServedTeacherTest, WhatAnApiTellsOfProbabilitiesCanBeLearntFrom) {
  for (const char* signal : {"logprobs", "auto"}) {
    const std::string set = std::string("train.signal=") + signal;
    EXPECT_EQ(refusal("", {set, "train.objective=forward_kl", "collect.logprobs=0"}), "accepted");
    EXPECT_EQ(refusal("", {set, "train.objective={ce: 0.5, forward_kl: 0.5}", "collect.logprobs=5"}), "accepted");
    EXPECT_THAT(refusal("", {set, "train.objective=reverse_kl", "collect.logprobs=5"}), HasSubstr("train.objective"));
    EXPECT_THAT(refusal("", {set, "train.objective=forward_kl"}), HasSubstr("collect.logprobs"));
  }
  EXPECT_THAT(refusal("", {"train.objective=forward_kl", "collect.logprobs=0"}), HasSubstr("train.signal: logprobs"));
  EXPECT_THAT(
      refusal("", {"train.signal=logprobs", "train.objective=forward_kl", "collect.logprobs=0", "train.temperature=2"}),
      HasSubstr("temperature 1"));
  // Beside the file too, if that is what is wanted; auto takes the file.
  EXPECT_EQ(refusal("tiny.gguf", {"train.signal=logprobs", "collect.logprobs=0"}), "accepted");
  EXPECT_FALSE(learns_from_logprobs(*parse("tiny.gguf", {"train.signal=auto", "collect.logprobs=0"})));
  EXPECT_TRUE(
      learns_from_logprobs(*parse("", {"train.signal=auto", "train.objective=forward_kl", "collect.logprobs=0"})));
  EXPECT_THAT(refusal("tiny.gguf", {"train.signal=logprobs", "teacher=" + path("tiny.gguf")}),
              HasSubstr("an API tells"));
}

TEST_F(ServedTeacherTest, AFileBesideTheApiAllowsEverything) {
  for (const char* override_text : {"train.objective=reverse_kl", "train.signal=sampled", "train.hidden_state_weight=1",
                                    "train.on_policy_from=0.5", "train.supervise=sampled"}) {
    EXPECT_EQ(refusal("tiny.gguf", {override_text}), "accepted");
  }
  EXPECT_EQ(refusal("tiny.gguf", {"collect.prompts=self_generated", "collect.count=200"}), "accepted");
}

TEST_F(ServedTeacherTest, WhatIsOpenedIsTheTeacherOrTheBase) {
  const Models with_file = open(*parse("tiny.gguf"));
  EXPECT_TRUE(with_file.teacher.at_hand);
  EXPECT_EQ(with_file.teacher.name, with_file.local.name);
  EXPECT_FALSE(with_file.local.own_terms);
  const Models alone = open(*parse(""));
  EXPECT_FALSE(alone.teacher.at_hand);
  EXPECT_EQ(alone.teacher.name, "some-model");
  ASSERT_TRUE(alone.local.own_terms);
  EXPECT_TRUE(alone.local.own_terms->may_proceed());
  // Nobody answers for a teacher whose terms aren't known.
  const auto unknown = open_models(*parse("", {"terms.accepted_by=''"}), folder_ / "cache", clock_);
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().message, HasSubstr("some-model"));
  // Neither tokenizer nor template can be read of a folder.
  const auto folder = open_models(*parse("", {"student.from=" + folder_.string()}), folder_ / "cache", clock_);
  ASSERT_FALSE(folder);
  EXPECT_THAT(folder.error().message, testing::AllOf(HasSubstr("folder"), HasSubstr("GGUF")));
}

// Answers are decided by who is asked, not by where or with which key.
TEST_F(ServedTeacherTest, KeysKnowTheTeacherAndNotItsAddress) {
  const std::string other_address = "{api: openai, endpoints: [{url: 'http://10.0.0.2/v1', key_env: K}], model: ";
  const std::string file = ", file: " + path("tiny.gguf") + "}";
  const std::string key = collect_key(*parse("tiny.gguf"));
  EXPECT_EQ(key, collect_key(*parse("tiny.gguf", {"teacher=" + other_address + "some-model" + file})));
  EXPECT_NE(key, collect_key(*parse("tiny.gguf", {"teacher=" + other_address + "another-model" + file})));
  EXPECT_NE(key, collect_key(*parse("tiny.gguf", {"teacher=" + path("tiny.gguf")})));
  EXPECT_NE(key, collect_key(*parse("")));
  EXPECT_NE(collect_key(*parse("")), collect_key(*parse("", {"student.from=" + path("other.gguf")})));
}

TEST_F(ServedTeacherTest, AnswersAreReadWithTheLocalTokens) {
  const Models models = open(*parse(""));
  Exchange exchange;
  exchange.prompt.messages = {{Role::kUser, "hello you"}};
  exchange.completion = {"hello the user", FinishReason::kEnd};
  exchange.provenance.served =
      ServedBy{"openai.chat", "http://127.0.0.1:1/v1", "some-model", "some-model", "", 3, 4, 0};
  auto folder = RunFolder::open(folder_ / "runs", "test", clock_);
  ASSERT_TRUE(folder) << folder.error().message;
  ASSERT_TRUE(make_folder(folder->of("collect")));
  {
    auto store = store::ExchangeStore::open(folder->of(kStoreFile));
    ASSERT_TRUE(store) << store.error().message;
    ASSERT_TRUE(store->add(exchange, store::Slot{"job", 0}));
  }
  const std::vector<Digest> ids = {exchange_id(exchange)};
  const auto read = read_exchanges(*folder, models.local, ids);
  ASSERT_TRUE(read) << read.error().message;
  const TokenizedConversation& tokens = read->front().tokens;
  EXPECT_EQ(tokens.tokenizer_fingerprint, models.local.format.tokenizer().fingerprint());

  const auto store = store::ExchangeStore::open_read_only(folder->of(kStoreFile));
  ASSERT_TRUE(store);
  // The same targets whichever supervision is asked for: nothing was sampled as tokens.
  for (const auto supervision : {dataset::Supervision::kAssistant, dataset::Supervision::kSampled}) {
    const auto examples = dataset::materialise(local_reader(*store, models.local), ids, supervision);
    ASSERT_TRUE(examples) << examples.error().message;
    EXPECT_EQ(examples->front().exchange_id, ids[0]);
    const auto decode = [&](std::span<const TokenId> part) {
      return models.local.format.tokenizer().decode(part, true);
    };
    EXPECT_THAT(dataset::render_marked(examples->front(), decode), HasSubstr("⟦hello the user<|im_end|>⟧"));
  }
  EXPECT_TRUE(store->get(ids[0])->tokens.ids.empty());
}

}  // namespace
}  // namespace retort::pipeline
