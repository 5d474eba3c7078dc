#include "guard/batch_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "guard/step_book.h"

namespace retort::guard {
namespace {

class BatchFilesTest : public ::testing::Test {
 public:
  ~BatchFilesTest() override { std::filesystem::remove_all(folder); }
  std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("retort-batch-files-" + std::to_string(getpid()));
};

TEST_F(BatchFilesTest, KeepsWhatWasLookedInto) {
  {
    const auto files = BatchFiles::open(folder / "batches.sqlite").value();
    ASSERT_TRUE(
        files->keep("file-1", {"acme", "/v1/chat/completions", 3, 5'000'000'000, policy::TokenPrices{1, 2, 3, 4}}, 7));
    ASSERT_TRUE(files->keep("file-2", {"acme", "/v1/responses", 1, {}, {}}, 7));
  }
  const auto files = BatchFiles::open(folder / "batches.sqlite").value();
  const auto first = files->find("file-1").value();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->account, "acme");
  EXPECT_EQ(first->path, "/v1/chat/completions");
  EXPECT_EQ(first->requests, 3);
  EXPECT_EQ(first->worst, 5'000'000'000);
  EXPECT_EQ(first->prices, (policy::TokenPrices{1, 2, 3, 4}));
  EXPECT_FALSE(files->find("file-2").value()->prices);
  EXPECT_FALSE(files->find("file-2").value()->worst);
  EXPECT_FALSE(files->find("file-3").value());
}

TEST_F(BatchFilesTest, ADatabaseOfSomethingElseIsRefused) {
  { const auto files = BatchFiles::open(folder / "one.sqlite").value(); }
  const auto taken = StepBook::open(folder / "one.sqlite");
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().fault, Fault::kCaller);
  EXPECT_THAT(taken.error().message, ::testing::HasSubstr("expected one of steps of response"));
  { const auto steps = StepBook::open(folder / "two.sqlite").value(); }
  EXPECT_TRUE(StepBook::open(folder / "two.sqlite")) << "its own opens again";
  EXPECT_FALSE(BatchFiles::open(folder / "two.sqlite"));
}

}  // namespace
}  // namespace retort::guard
