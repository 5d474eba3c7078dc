#include "guard/step_book.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

namespace retort::guard {
namespace {

using ::testing::HasSubstr;

class StepBookTest : public ::testing::Test {
 public:
  StepBookTest() { std::filesystem::remove_all(folder); }
  ~StepBookTest() override { std::filesystem::remove_all(folder); }
  std::filesystem::path folder = std::filesystem::temp_directory_path() / ("retort-steps-" + std::to_string(getpid()));
  policy::Step step{policy::StepKind::kCap, "a", "Jane", "too much", 1000, 2000};
};

TEST_F(StepBookTest, KeepsStepsAndWhoTookThemBack) {
  const auto book = StepBook::open(folder / "steps.sqlite").value();
  const std::int64_t id = book->set(step).value();
  EXPECT_EQ(book->in_force()->at("a").size(), 1U);
  EXPECT_TRUE(book->undo(id, "Joe", 1500));
  EXPECT_TRUE(book->in_force()->empty());
  EXPECT_THAT(book->undo(id, "Joe", 1500).error().message, HasSubstr("no step"));
  const auto all = book->all().value();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].undone_by, "Joe");
  EXPECT_EQ(all[0].step.by, "Jane");
  EXPECT_EQ(all[0].step.kind, policy::StepKind::kCap);
}

TEST_F(StepBookTest, SeesWhatAnotherProcessSets) {
  const auto guard = StepBook::open(folder / "steps.sqlite").value();
  const auto command = StepBook::open(folder / "steps.sqlite").value();
  EXPECT_FALSE(guard->refresh().value());
  ASSERT_TRUE(command->set(step));
  EXPECT_TRUE(guard->refresh().value());
  EXPECT_EQ(guard->in_force()->count("a"), 1U);
}

TEST_F(StepBookTest, NeedsAPersonAReasonAndAnEnd) {
  const auto book = StepBook::open(folder / "steps.sqlite").value();
  for (const auto& spoil :
       {+[](policy::Step& s) { s.by.clear(); }, +[](policy::Step& s) { s.reason.clear(); },
        +[](policy::Step& s) { s.account.clear(); }, +[](policy::Step& s) { s.until_unix_ms = 1000; }}) {
    policy::Step bad = step;
    spoil(bad);
    EXPECT_FALSE(book->set(bad));
  }
  EXPECT_TRUE(book->all().value().empty());
}

}  // namespace
}  // namespace retort::guard
