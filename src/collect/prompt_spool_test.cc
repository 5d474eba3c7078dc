#include "collect/prompt_spool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/files.h"
#include "provider/forecast.h"

namespace retort::collect {
namespace {

using ::testing::HasSubstr;

class PromptSpoolTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) / ("retort_spool_" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
    write(
        "{\"prompt\": \"I am a@example.com\"}\n"
        "{\"messages\": [{\"role\": \"user\", \"content\": \"2+2?\"}, {\"role\": \"assistant\", \"content\": \"4\"}]}\n"
        "nonsense\n"
        "{\"messages\": [{\"role\": \"user\", \"content\": \"weather?\"}, {\"role\": \"assistant\", \"tool_calls\": "
        "[{\"id\": \"c\", \"function\": {\"name\": \"w\", \"arguments\": \"{}\"}}]}, {\"role\": \"tool\", "
        "\"tool_call_id\": \"c\", \"content\": \"rain\"}], \"tools\": [{\"type\": \"function\", \"function\": "
        "{\"name\": \"w\"}}]}\n");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void write(std::string_view text) {
    ASSERT_TRUE(write_file(folder_ / "p.jsonl", text));
    options_.prompts.file = (folder_ / "p.jsonl").string();
    options_.prompts.skip_broken = true;
    options_.system = "Be brief.";
  }
  // The same rows as reading them anew gives.
  void expect_taken(const PromptSpool& spool) const {
    const auto taken = take_prompts(options_);
    ASSERT_TRUE(taken);
    ASSERT_EQ(spool.size(), static_cast<std::int64_t>(taken->rows.size()));
    for (std::int64_t i = spool.size() - 1; i >= 0; --i) {
      const PromptRow& row = taken->rows[static_cast<std::size_t>(i)];
      const auto found = spool.at(i);
      ASSERT_TRUE(found) << found.error().message;
      EXPECT_EQ(found->line, row.line);
      EXPECT_EQ(found->prompt, row.prompt);
      EXPECT_EQ(found->answer, row.answer);
      EXPECT_EQ(found->answer_tool_calls, row.answer_tool_calls);
      EXPECT_EQ(spool.answered(i), row.answer.has_value());
      EXPECT_EQ(spool.prompt_bytes(i), provider::prompt_bytes(row.prompt));
    }
    EXPECT_EQ(spool.intake().altered, taken->intake.altered);
    EXPECT_EQ(spool.intake().personal_data, taken->intake.personal_data);
    EXPECT_EQ(spool.intake().file.skipped, 1);
    EXPECT_EQ(spool.intake().file.first_skipped.at(0).line, 3U);
  }

  std::filesystem::path folder_;
  CollectOptions options_;
};

TEST_F(PromptSpoolTest, RowsComeBackAsTheyWereTakenAndNothingIsLeft) {
  int seen = 0;
  const auto spool = PromptSpool::make(options_, folder_ / "cache", [&](const PromptRow&) -> Result<void> {
    ++seen;
    return {};
  });
  ASSERT_TRUE(spool) << spool.error().message;
  EXPECT_EQ(seen, 3);
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "cache"));
  // Whatever becomes of the user's file meanwhile.
  expect_taken(*spool);
  ASSERT_TRUE(write_file(folder_ / "p.jsonl", "{\"prompt\": \"another\"}\n"));
  EXPECT_EQ(spool->at(0)->prompt.messages.back().content, "I am [EMAIL]");
}

TEST_F(PromptSpoolTest, AnErrorOfALookOrOfTheFileEndsItAndLeavesNothing) {
  const auto stopped = PromptSpool::make(options_, folder_ / "cache",
                                         [](const PromptRow&) -> Result<void> { return caller_error("too long."); });
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().message, "too long.");
  options_.prompts.skip_broken = false;
  for (const bool kept : {false, true}) {
    const auto broken =
        kept ? PromptSpool::keep(options_, folder_ / "cache/s") : PromptSpool::make(options_, folder_ / "cache");
    ASSERT_FALSE(broken);
    EXPECT_THAT(broken.error().message, HasSubstr("line 3"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "cache"));
  options_.prompts.file = (folder_ / "gone").string();
  EXPECT_THAT(PromptSpool::keep(options_, folder_ / "cache/s").error().message, HasSubstr("gone"));
}

TEST_F(PromptSpoolTest, AKeptOneIsTakenUpWhileItIsOfTheSamePrompts) {
  const std::filesystem::path file = folder_ / "spool";
  const auto made = PromptSpool::keep(options_, file);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_TRUE(made->was_read());
  const auto kept = PromptSpool::keep(options_, file);
  ASSERT_TRUE(kept);
  EXPECT_FALSE(kept->was_read());
  EXPECT_EQ(kept->rows_digest(), made->rows_digest());
  expect_taken(*kept);
  // Other bytes, or another way to read them.
  options_.personal_data = "keep";
  const auto other = PromptSpool::keep(options_, file);
  ASSERT_TRUE(other && other->was_read());
  EXPECT_EQ(other->at(0)->prompt.messages.back().content, "I am a@example.com");
  write("{\"prompt\": \"another\"}\n");
  const auto changed = PromptSpool::keep(options_, file);
  ASSERT_TRUE(changed && changed->was_read());
  EXPECT_EQ(changed->size(), 1);
}

// Whichever byte is damaged or wherever it is cut: it is noticed, never taken for a prompt.
TEST_F(PromptSpoolTest, ADamagedOneIsMadeAgainOrToldOf) {
  const std::filesystem::path file = folder_ / "spool";
  ASSERT_TRUE(PromptSpool::keep(options_, file));
  const std::string whole = *read_file(file);
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x5a);
    ASSERT_TRUE(write_file(file, damaged));
    const auto spool = PromptSpool::keep(options_, file);
    ASSERT_TRUE(spool) << at;
    if (spool->was_read()) continue;
    int bad = 0;
    for (std::int64_t row = 0; row < spool->size(); ++row) bad += spool->at(row) ? 0 : 1;
    EXPECT_EQ(bad, 1) << "byte " << at;
  }
  for (std::size_t size = 0; size < whole.size(); size += 7) {
    ASSERT_TRUE(write_file(file, whole.substr(0, size)));
    const auto spool = PromptSpool::keep(options_, file);
    ASSERT_TRUE(spool && spool->was_read()) << size;
  }
}

}  // namespace
}  // namespace retort::collect
