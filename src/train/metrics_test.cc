#include "train/metrics.h"

#include <gtest/gtest.h>

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

TEST_F(MetricsTest, NamesTheLineThatIsNotOne) {
  const auto path = folder_ / "metrics.jsonl";
  std::ofstream(path) << "{\"step\": 1}\n";
  const auto read = read_metrics(path);
  ASSERT_FALSE(read);
  EXPECT_NE(read.error().message.find("line 1"), std::string::npos) << read.error().message;
}

}  // namespace
}  // namespace retort::train
