#include "pipeline/run_folder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

namespace retort::pipeline {
namespace {

class RunFolderTest : public testing::Test {
 protected:
  RunFolderTest() : runs_(std::filesystem::path(testing::TempDir()) / "run_folder_test") {
    std::filesystem::remove_all(runs_);
  }
  ~RunFolderTest() override { std::filesystem::remove_all(runs_); }
  std::filesystem::path runs_;
  ManualClock clock_;
};

TEST_F(RunFolderTest, IsHeldByOneAtATime) {
  auto first = RunFolder::open(runs_, "a", clock_);
  ASSERT_TRUE(first) << first.error().message;
  const auto second = RunFolder::open(runs_, "a", clock_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().fault, Fault::kCaller);
  EXPECT_NE(second.error().message.find(std::to_string(getpid())), std::string::npos) << second.error().message;
  EXPECT_TRUE(RunFolder::open(runs_, "b", clock_));
}

TEST_F(RunFolderTest, ManifestIsKeptFromOneOpeningToTheNext) {
  {
    auto folder = RunFolder::open(runs_, "a", clock_);
    ASSERT_TRUE(folder);
    folder->manifest().at("collect").summary = "said";
    ASSERT_TRUE(folder->save());
  }
  const auto again = RunFolder::open(runs_, "a", clock_);
  ASSERT_TRUE(again) << again.error().message;
  ASSERT_NE(again->manifest().find("collect"), nullptr);
  EXPECT_EQ(again->manifest().find("collect")->summary, "said");
}

TEST_F(RunFolderTest, AFolderOfSomebodyElseIsLeftAlone) {
  std::filesystem::create_directories(runs_ / "a");
  ASSERT_TRUE(write_file(runs_ / "a" / "thesis.txt", "years of work"));
  const auto folder = RunFolder::open(runs_, "a", clock_);
  ASSERT_FALSE(folder);
  EXPECT_NE(folder.error().message.find("thesis.txt"), std::string::npos) << folder.error().message;
  ASSERT_TRUE(write_file(runs_ / "b", "a file"));
  EXPECT_FALSE(RunFolder::open(runs_, "b", clock_));
}

TEST_F(RunFolderTest, AFolderLeftByAProcessKilledAtTheStartIsTakenUp) {
  std::filesystem::create_directories(runs_ / "a");
  ASSERT_TRUE(write_file(runs_ / "a" / "lock", ""));
  EXPECT_TRUE(RunFolder::open(runs_, "a", clock_));
}

TEST_F(RunFolderTest, ChangedOutputsAreFound) {
  auto folder = RunFolder::open(runs_, "a", clock_);
  ASSERT_TRUE(folder);
  ASSERT_TRUE(write_file(folder->of("x.json"), "{}"));
  StageRecord stage;
  stage.outputs = {record_output(folder->path(), "x.json").value()};
  EXPECT_EQ(find_changed_output(folder->path(), stage).value(), "");
  ASSERT_TRUE(write_file(folder->of("x.json"), "[]"));
  EXPECT_NE(find_changed_output(folder->path(), stage).value(), "");
  std::filesystem::remove(folder->of("x.json"));
  EXPECT_NE(find_changed_output(folder->path(), stage).value(), "");
}

}  // namespace
}  // namespace retort::pipeline
