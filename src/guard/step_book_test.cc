#include "guard/step_book.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <thread>
#include <vector>

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

TEST_F(StepBookTest, HasAStepInForceOnceItIsSetWhoeverElseReads) {
  const auto guard = StepBook::open(folder / "steps.sqlite").value();
  const auto command = StepBook::open(folder / "steps.sqlite").value();
  std::atomic<int> missed = 0;
  std::atomic<bool> over = false;
  const auto set = [&](StepBook& book, const std::string& account) {
    policy::Step own = step;
    own.account = account;
    if (!book.set(own) || !book.in_force()->contains(account)) ++missed;
  };
  std::thread keeper([&] {
    while (!over) static_cast<void>(guard->refresh().has_value());
  });
  std::vector<std::thread> people;
  for (int person = 0; person < 3; ++person) {
    people.emplace_back([&, person] {
      for (int i = 0; i < 40; ++i) {
        set(person == 0 ? *command : *guard, std::to_string(person) + "." + std::to_string(i));
      }
    });
  }
  for (std::thread& one : people) one.join();
  over = true;
  keeper.join();
  EXPECT_EQ(missed, 0);
  static_cast<void>(guard->refresh().has_value());
  EXPECT_EQ(guard->in_force()->size(), 120U);
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
