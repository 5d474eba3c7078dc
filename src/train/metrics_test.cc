#include "train/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "base/files.h"

namespace retort::train {
namespace {

class MetricsTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("retort_metrics_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

StepMetrics line(std::int64_t step) {
  StepMetrics metrics;
  metrics.step = step;
  metrics.loss = 1.0 / static_cast<double>(step);
  if (step % 2 == 0) metrics.held_out_kl = 0.5;
  return metrics;
}

TEST_F(MetricsTest, GoesOnFromTheCheckpointsStep) {
  const auto path = folder_ / "metrics.jsonl";
  auto file = MetricsFile::open(path, 0);
  ASSERT_TRUE(file);
  for (std::int64_t step = 1; step <= 5; ++step) ASSERT_TRUE(file->append(line(step)));
  std::ofstream(path, std::ios::app) << R"({"step": 6, "los)";  // killed while writing
  auto read = read_metrics(path);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->size(), 5U);

  file = MetricsFile::open(path, 3);
  ASSERT_TRUE(file);
  ASSERT_TRUE(file->append(line(4)));
  read = read_metrics(path);
  ASSERT_TRUE(read);
  ASSERT_EQ(read->size(), 4U);
  EXPECT_EQ((*read)[2].loss, 1.0 / 3.0);
  EXPECT_EQ((*read)[3].step, 4);
  EXPECT_EQ((*read)[3].held_out_kl, 0.5);
  EXPECT_FALSE((*read)[2].held_out_kl.has_value());

  ASSERT_TRUE(MetricsFile::open(path, 0));  // started anew
  EXPECT_TRUE(read_metrics(path)->empty());
}

// What was written before there was a health of the student is read as it was.
TEST_F(MetricsTest, ReadsLinesWithoutHealth) {
  const auto path = folder_ / "metrics.jsonl";
  std::ofstream(path) << R"({"cross_entropy":3.21,"elapsed_s":4.7,"epoch":1,"gradient_norm":8.4,"held_out_kl":1.62,)"
                         R"("kl":1.58,"learning_rate":0.0002,"loss":1.58,"step":1,"supervised_tokens":2411,)"
                         R"("tokens":3067,"tokens_per_s":655.1})"
                         "\n";
  const auto read = read_metrics(path);
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_EQ(read->size(), 1U);
  EXPECT_EQ(read->front().held_out_kl, 1.62);
  EXPECT_FALSE(read->front().health || read->front().rollouts || read->front().data_kl);
}

TEST_F(MetricsTest, KeepsTheHealthToTheLastBit) {
  StepMetrics written = line(1);
  StudentHealth health;
  health.tokens = 7;
  health.teacher_entropy = 1.0 / 3;
  health.student_entropy = 0.1;
  health.calibration_error = 2.0 / 7;
  health.agreement = 0.3;
  health.perplexity = std::exp(1.1);
  health.teacher_end_at_end = 0.7;
  health.kl_by_position = {1.0 / 9, {}, 0.2, {}};
  health.text = TextFigures{12, 3.3, 2.2};
  health.answers = OwnAnswers{{8, 31.5, 0.5, 0.125, 0.25, 0, 0.9}, {8, 40, 0.75, 0, 0, 0, 0.95}};
  written.health = written.health_before = health;
  written.rollouts = health.answers;
  written.data_kl = 1.0 / 3;
  written.rollout_kl = 2.0 / 3;
  const auto path = folder_ / "metrics.jsonl";
  auto file = MetricsFile::open(path, 0);
  ASSERT_TRUE(file && file->append(written));
  const auto read = read_metrics(path);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_TRUE(read->front().health == written.health);
  EXPECT_TRUE(read->front().health_before == written.health);
  EXPECT_TRUE(read->front().rollouts == written.rollouts);
  EXPECT_EQ(read->front().data_kl, written.data_kl);
  EXPECT_EQ(read->front().rollout_kl, written.rollout_kl);
}

TEST_F(MetricsTest, NamesTheLineThatIsNotOne) {
  const auto path = folder_ / "metrics.jsonl";
  std::ofstream(path) << "{\"step\": 1}\n";
  const auto read = read_metrics(path);
  ASSERT_FALSE(read);
  EXPECT_NE(read.error().message.find("line 1"), std::string::npos) << read.error().message;
}

}  // namespace
}  // namespace retort::train
