#include "train/rollouts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/clock.h"
#include "train/metrics.h"
#include "train/rollout_source_for_test.h"
#include "train/tiny_model_for_test.h"
#include "train/train.h"

namespace retort::train {
namespace {

using testing::HasSubstr;

TrainOptions options_with(double from) {
  TrainOptions options;
  options.max_length = 24;
  options.tokens_per_step = 96;
  options.tokens = 1200;
  options.learning_rate = 3e-3;
  options.head_rows = 16;
  options.held_out_every = 0;
  options.checkpoint_every = 0;
  options.health_answers = 0;
  options.on_policy_from = from;
  options.rollout_every = 3;
  return options;
}

class StopAfter final : public Progress {
 public:
  explicit StopAfter(int steps) : left_(steps) {}
  void begin(std::string_view, double, std::string_view) override {}
  void advance(double, std::string_view) override {
    if (--left_ == 0) stop.request_stop();
  }
  void end(std::string_view) override {}
  void note(std::string_view text) override { notes += std::string(text) + "\n"; }
  std::stop_source stop;
  std::string notes;

 private:
  int left_;
};

class OnPolicyTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::temp_directory_path() /
            ("retort_on_policy_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::remove_all(root_);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  Result<TrainSummary> run(const std::string& name, const TrainOptions& options, RolloutSource* source,
                           int stop_after = -1) {
    const auto teacher = tiny_decoder(tiny_config(true, 3), 1, model::ComputeType::kFloat32);
    const auto examples = tiny_examples(40);
    const auto held_out = tiny_examples(8, 100);
    StopAfter progress(stop_after);
    SystemClock clock;
    auto result =
        train(teacher, tiny_decoder(tiny_config(true, 2), 2, model::ComputeType::kFloat32), {examples, held_out},
              options, root_ / name, clock, progress, progress.stop.get_token(), {nullptr, {}, source, {}, "", {}, {}});
    notes_ = progress.notes;
    return result;
  }
  std::vector<StepMetrics> metrics(const std::string& name) { return *read_metrics(root_ / name / "metrics.jsonl"); }

  std::filesystem::path root_;
  std::string notes_;
};

TEST_F(OnPolicyTest, TheLastPartLearnsFromRollouts) {
  AnswersForTest answers;
  const auto summary = run("run", options_with(0.5), &answers);
  ASSERT_TRUE(summary) << summary.error().message;
  const auto lines = metrics("run");
  std::size_t first = 0;
  while (first < lines.size() && !lines[first].rollout_loss) ++first;
  ASSERT_LT(first, lines.size());
  EXPECT_GE(lines[first - 1].tokens, 600);
  EXPECT_LT(lines[first - 1].tokens, 720);
  for (std::size_t i = first; i < lines.size(); ++i) {
    ASSERT_TRUE(lines[i].rollout_loss) << i;
    EXPECT_GT(*lines[i].rollout_loss, 0);
    // By source: between the two lies the whole, and each round is described where it begins.
    ASSERT_TRUE(lines[i].data_kl && lines[i].rollout_kl && lines[i].kl);
    EXPECT_LE(std::min(*lines[i].data_kl, *lines[i].rollout_kl), *lines[i].kl + 1e-9);
    EXPECT_GE(std::max(*lines[i].data_kl, *lines[i].rollout_kl), *lines[i].kl - 1e-9);
    EXPECT_EQ(lines[i].rollouts.has_value(), (i - first) % 3 == 0) << i;
    if (lines[i].rollouts) {
      EXPECT_EQ(lines[i].rollouts->student.tokens, 10);
    }
  }
  // A round lasts three steps, and says which step's student answered.
  ASSERT_EQ(answers.rounds.size(), (lines.size() - first + 2) / 3);
  EXPECT_EQ(answers.rounds[0].step, static_cast<std::int64_t>(first));
  EXPECT_EQ(answers.rounds[1].step, static_cast<std::int64_t>(first + 3));
  EXPECT_NEAR(static_cast<double>(summary->tokens), 1200, 150);
  EXPECT_THAT(notes_, HasSubstr("Round 1 of the student's own answers"));
}

TEST_F(OnPolicyTest, TakenUpWithinARoundItGivesTheSameLosses) {
  AnswersForTest whole_answers, parted_answers;
  const TrainOptions options = options_with(0.3);
  ASSERT_TRUE(run("whole", options, &whole_answers));
  const auto whole = metrics("whole");
  for (const int stop_after : {5, 3}) {  // in the middle of a round, and in one more session of it
    const auto stopped = run("parted", options, &parted_answers, stop_after);
    ASSERT_FALSE(stopped);
    EXPECT_EQ(stopped.error().fault, Fault::kInterrupted);
  }
  ASSERT_TRUE(run("parted", options, &parted_answers));
  const auto parted = metrics("parted");
  ASSERT_EQ(whole.size(), parted.size());
  for (std::size_t i = 0; i < whole.size(); ++i) {
    EXPECT_EQ(whole[i].loss, parted[i].loss) << i;
    EXPECT_EQ(whole[i].rollout_loss, parted[i].rollout_loss) << i;
    EXPECT_EQ(whole[i].data_kl, parted[i].data_kl) << i;
    EXPECT_EQ(whole[i].rollout_kl, parted[i].rollout_kl) << i;
    EXPECT_TRUE(whole[i].rollouts == parted[i].rollouts) << i;
  }
}

TEST_F(OnPolicyTest, OnlyRolloutsWhenTheShareIsOne) {
  AnswersForTest answers;
  TrainOptions options = options_with(0);
  options.on_policy_share = 1;
  options.tokens = 500;
  const auto summary = run("run", options, &answers);
  ASSERT_TRUE(summary) << summary.error().message;
  for (const StepMetrics& line : metrics("run")) {
    ASSERT_TRUE(line.rollout_loss);
    EXPECT_NEAR(*line.rollout_loss, line.loss, 1e-12);
    EXPECT_EQ(line.epoch, 1);
  }
}

TEST_F(OnPolicyTest, WithoutThemNobodyIsAsked) {
  AnswersForTest answers;
  ASSERT_TRUE(run("run", options_with(1), &answers));
  EXPECT_TRUE(answers.rounds.empty());
  const auto refused = run("other", options_with(0.5), nullptr);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("train.on_policy_from"));
}

}  // namespace
}  // namespace retort::train
