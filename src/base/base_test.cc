#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/random.h"
#include "base/text.h"

namespace retort {
namespace {

class FilesTest : public testing::Test {
 protected:
  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("retort-base-test-" + std::to_string(::getpid()));
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
};

TEST(Digest, IsSha256) {
  // FIPS 180-2, appendix B.1.
  EXPECT_EQ(sha256("abc").hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256().update("a").update("bc").finish(), sha256("abc"));
}

TEST(Digest, ReadsItsOwnText) {
  EXPECT_EQ(Digest::from_hex(sha256("x").hex()).value(), sha256("x"));
  EXPECT_FALSE(Digest::from_hex("abc"));
  EXPECT_FALSE(Digest::from_hex(std::string(64, 'g')));
}

TEST_F(FilesTest, AnAtomicFileAppearsOnlyWhenCommitted) {
  const auto path = folder_ / "a" / "file";
  {
    auto file = AtomicFile::create(path);
    ASSERT_TRUE(file);
    ASSERT_TRUE(file->write("half"));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "a"));
  ASSERT_TRUE(write_file(path, "whole"));
  EXPECT_EQ(read_file(path).value(), "whole");
}

TEST_F(FilesTest, AFailedWriteKeepsTheOldFileAndSaysWhy) {
  const auto failure = write_file("/proc/nothing/here", "x");
  ASSERT_FALSE(failure);
  EXPECT_EQ(failure.error().fault, Fault::kWorld);
  EXPECT_THAT(failure.error().message, testing::HasSubstr("/proc/nothing"));
}

TEST_F(FilesTest, ReadsAnEmptyFile) {
  ASSERT_TRUE(write_file(folder_ / "empty", ""));
  EXPECT_EQ(read_file(folder_ / "empty").value(), "");
  EXPECT_EQ(read_file(folder_ / "absent").error().fault, Fault::kCaller);
  EXPECT_EQ(read_file(folder_).error().fault, Fault::kCaller);
}

TEST_F(FilesTest, ASecondLockIsRefused) {
  auto first = FileLock::acquire(folder_ / "lock");
  ASSERT_TRUE(first);
  const auto second = FileLock::acquire(folder_ / "lock");
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, testing::HasSubstr(std::to_string(::getpid())));
}

TEST(Json, ErrorsSayWhere) {
  const auto broken = parse_json("{\n  \"a\": ]", "x.json");
  ASSERT_FALSE(broken);
  EXPECT_THAT(broken.error().message, testing::HasSubstr("line 2, column 8"));
}

TEST(Json, CanonicalFormHasSortedKeysAndNoSpaces) {
  EXPECT_EQ(canonical_json({{"b", 1}, {"a", 0.1}}), R"({"a":0.1,"b":1})");
}

TEST(Random, IsReproducibleAndUniform) {
  Random a(7);
  Random b(7);
  double sum = 0;
  for (int i = 0; i < 10000; ++i) {
    const double value = a.uniform();
    EXPECT_EQ(value, b.uniform());
    sum += value;
  }
  EXPECT_NEAR(sum / 10000, 0.5, 0.02);
  EXPECT_NE(derive_seed(1, "collect", 0), derive_seed(1, "collect", 1));
  EXPECT_NE(derive_seed(1, "collect"), derive_seed(1, "train"));
}

TEST(Text, Utf8) {
  EXPECT_TRUE(is_valid_utf8("aé漢😀"));
  EXPECT_FALSE(is_valid_utf8("\xC0\xAF"));
  EXPECT_FALSE(is_valid_utf8("\xED\xA0\x80"));
  EXPECT_FALSE(is_valid_utf8("a\xE6"));
  EXPECT_EQ(unfinished_utf8_suffix("a\xE6\xBC"), 2U);
  EXPECT_EQ(unfinished_utf8_suffix("漢"), 0U);
}

TEST(Text, NearestFindsMisspellings) {
  const std::vector<std::string> keys = {"train.learning_rate", "train.epochs", "name"};
  EXPECT_EQ(nearest("train.learning_rte", keys), "train.learning_rate");
  EXPECT_EQ(nearest("zzzzzzzz", keys), "");
}

TEST(Text, HumanNumbers) {
  EXPECT_EQ(human_bytes(98362432), "98.4 MB");
  EXPECT_EQ(human_bytes(999), "999 B");
  EXPECT_EQ(human_seconds(75), "1 min 15 s");
  EXPECT_EQ(human_count(1234567), "1,234,567");
  EXPECT_EQ(human_count(-12), "-12");
}

TEST(Clock, IsoTime) { EXPECT_EQ(iso_time(0), "1970-01-01T00:00:00Z"); }

}  // namespace
}  // namespace retort
