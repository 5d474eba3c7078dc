// Whole runs on a tiny teacher: what is kept, what is repeated, what a stop or a damaged file does.
#include "pipeline/pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "base/text.h"
#include "gguf/testing.h"
#include "pipeline/manifest.h"
#include "pipeline/plan.h"
#include "pipeline/run_folder.h"
#include "pipeline/run_options.h"

namespace retort::pipeline {
namespace {

using testing::HasSubstr;

// Requests a stop when a piece of work with this title reports for the n-th time.
class StoppingProgress final : public Progress {
 public:
  StoppingProgress(std::string title, int reports) : title_(std::move(title)), reports_(reports) {}
  void begin(std::string_view title, double, std::string_view) override { active_ = title == title_; }
  void advance(double, std::string_view) override {
    if (active_ && --reports_ == 0) source_.request_stop();
  }
  void end(std::string_view) override { active_ = false; }
  void note(std::string_view) override {}
  std::stop_token token() const { return source_.get_token(); }

 private:
  std::string title_;
  int reports_;
  bool active_ = false;
  std::stop_source source_;
};

class PipelineTest : public testing::Test {
 protected:
  PipelineTest() : folder_(std::filesystem::path(testing::TempDir()) / "pipeline_test") {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    gguf::testing::TinyModelOptions options;
    options.layers = 3;
    EXPECT_TRUE(gguf::testing::write_tiny_model(folder_ / "tiny.gguf", options));
    std::string prompts;
    for (int i = 0; i < 12; ++i) prompts += "Say something about number " + std::to_string(i * i) + ".\n";
    EXPECT_TRUE(write_file(folder_ / "prompts.txt", prompts));
  }
  ~PipelineTest() override { std::filesystem::remove_all(folder_); }

  Result<recipe::Recipe> parse(const std::vector<std::string>& overrides) const {
    const std::string yaml =
        "name: test\nteacher: " + (folder_ / "tiny.gguf").string() +
        "\nstudent: {layers: 2, measured_tokens: 32}\ncollect: {prompts: {file: " + (folder_ / "prompts.txt").string() +
        ", format: lines}, count: 12, max_tokens: 12}\n"
        "train: {tokens: 1024, tokens_per_step: 256, max_length: 256, held_out_tokens: 32, "
        "checkpoint_every: 1, compute: fp32}\n"
        "curate: {drop_repetition: false, min_tokens: 1}\n"
        "evaluate: {held_out: 3, answers: 2, shown_answers: 1, shown_exchanges: 1, speed: false, "
        "rival: false, resamples: 100}\n"
        "export: {quantize: Q8_0}\n";
    return recipe::Recipe::parse(yaml, "test.yaml", recipe_schema(), overrides);
  }
  Result<RunOutcome> run_it(const std::vector<std::string>& overrides = {}, Progress* progress = nullptr,
                            std::stop_token stop = {}) {
    RETORT_ASSIGN(recipe::Recipe recipe, parse(overrides));
    const RunRequest request{std::move(recipe), folder_ / "runs", folder_ / "cache", "", "retort run test.yaml"};
    return run(request, clock_, progress != nullptr ? *progress : silent_, stop);
  }
  std::vector<std::string> repeated(const RunOutcome& outcome) const {
    std::vector<std::string> names;
    for (const StageOutcome& stage : outcome.stages) {
      if (!stage.kept) names.push_back(stage.name);
    }
    return names;
  }
  std::string file(const std::string& relative) const {
    return read_file(folder_ / "runs" / "test" / relative).value_or("");
  }

  std::vector<double> losses() const {
    std::vector<double> values;
    for (const std::string& line : split(file("train/metrics.jsonl"), '\n')) {
      if (const auto json = parse_json(line, "metrics"); !line.empty() && json) values.push_back(json->at("loss"));
    }
    return values;
  }

  std::filesystem::path folder_;
  SystemClock clock_;
  SilentProgress silent_;
};

TEST_F(PipelineTest, RunsToTheEndAndRepeatsOnlyWhatChanged) {
  const auto first = run_it();
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_EQ(repeated(*first), (std::vector<std::string>{"collect", "curate", "dataset", "train", "export", "evaluate",
                                                        "bundle", "report"}));
  ASSERT_TRUE(first->scorecard);
  EXPECT_EQ(first->scorecard->teacher.kl_nats->value, 0);
  EXPECT_EQ(first->scorecard->teacher.top1_agreement->value, 1);
  EXPECT_GT(first->scorecard->before.kl_nats->value, 0);
  EXPECT_EQ(first->scorecard->student.layers, 2);
  EXPECT_EQ(first->scorecard->student.type, "Q8_0");
  EXPECT_EQ(first->scorecard->held_out.exchanges, 3);
  EXPECT_TRUE(std::filesystem::exists(first->model)) << first->model;
  EXPECT_THAT(file("report.html"), HasSubstr("<html"));
  EXPECT_THAT(file("metrics.jsonl"), HasSubstr("\"loss\""));
  EXPECT_THAT(file("scorecard.json"), HasSubstr("kl_nats"));

  const auto second = run_it();
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_TRUE(repeated(*second).empty());

  const auto evaluated = run_it({"evaluate.resamples=120"});
  ASSERT_TRUE(evaluated) << evaluated.error().message;
  EXPECT_EQ(repeated(*evaluated), (std::vector<std::string>{"evaluate", "bundle", "report"}));

  const auto trained = run_it({"evaluate.resamples=120", "train.learning_rate=1e-4"});
  ASSERT_TRUE(trained) << trained.error().message;
  EXPECT_EQ(repeated(*trained), (std::vector<std::string>{"train", "export", "evaluate", "bundle", "report"}));
}

TEST_F(PipelineTest, ADamagedOutputIsMadeAgain) {
  ASSERT_TRUE(run_it());
  ASSERT_TRUE(write_file(folder_ / "runs/test/curate/curation.json", "{}"));
  const auto again = run_it();
  ASSERT_TRUE(again) << again.error().message;
  // The same curation comes out, so nothing after it is repeated.
  EXPECT_EQ(repeated(*again), (std::vector<std::string>{"curate"}));
}

TEST_F(PipelineTest, StoppedTrainingGoesOnWithTheSameLosses) {
  ASSERT_TRUE(run_it());
  const std::vector<double> unbroken = losses();
  ASSERT_GE(unbroken.size(), 3U);
  std::filesystem::remove_all(folder_ / "runs");

  StoppingProgress stopping("train", 2);
  const auto stopped = run_it({}, &stopping, stopping.token());
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().fault, Fault::kInterrupted) << stopped.error().message;
  const auto resumed = run_it();
  ASSERT_TRUE(resumed) << resumed.error().message;
  EXPECT_EQ(repeated(*resumed).front(), "train");
  EXPECT_EQ(losses(), unbroken);
}

TEST_F(PipelineTest, ARunThatIsHeldIsRefused) {
  const auto held = RunFolder::open(folder_ / "runs", "test", clock_);
  ASSERT_TRUE(held);
  const auto refused = run_it();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().fault, Fault::kCaller);
  EXPECT_THAT(refused.error().message, HasSubstr("test"));
}

TEST_F(PipelineTest, PlanSaysWhatIsDoneAndWhatIsLeft) {
  auto recipe = parse({});
  ASSERT_TRUE(recipe) << recipe.error().message;
  const RunRequest request{std::move(*recipe), folder_ / "runs", folder_ / "cache", "", "retort run test.yaml"};
  const auto before = plan(request, clock_, silent_, {});
  ASSERT_TRUE(before) << before.error().message;
  EXPECT_EQ(before->stages.size(), 8U);
  EXPECT_FALSE(before->stages[0].done);
  EXPECT_GT(before->seconds, 0);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "runs"));
  ASSERT_TRUE(run_it());
  const auto after = plan(request, clock_, silent_, {});
  ASSERT_TRUE(after) << after.error().message;
  for (const PlannedStage& stage : after->stages) EXPECT_TRUE(stage.done) << stage.name;
  EXPECT_EQ(after->seconds, 0);
}

TEST(RecipeSchema, RulesThatSpanModulesAreChecked) {
  const std::vector<std::string> overrides = {"collect.count=10", "evaluate.held_out=10"};
  const auto recipe =
      recipe::Recipe::parse("name: a\nteacher: b\nstudent: {layers: 2}\n", "r.yaml", recipe_schema(), overrides);
  ASSERT_FALSE(recipe);
  EXPECT_THAT(recipe.error().message, HasSubstr("evaluate.held_out"));
  const std::vector<std::string> bad_name = {"name=../../etc"};
  EXPECT_FALSE(
      recipe::Recipe::parse("name: a\nteacher: b\nstudent: {layers: 2}\n", "r.yaml", recipe_schema(), bad_name));
}

}  // namespace
}  // namespace retort::pipeline
