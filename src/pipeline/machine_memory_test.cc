#include "pipeline/machine_memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "base/files.h"

namespace retort::pipeline {
namespace {

class MachineMemoryTest : public testing::Test {
 protected:
  MachineMemoryTest() : cache_(testing::TempDir() + "machine_memory_" + std::to_string(getpid())) { clear(); }
  ~MachineMemoryTest() override { clear(); }
  void clear() const { std::filesystem::remove_all(cache_); }
  std::vector<std::filesystem::path> files() const {
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(cache_)) {
      if (entry.is_regular_file()) found.push_back(entry.path());
    }
    return found;
  }
  const std::filesystem::path cache_;
};

TEST_F(MachineMemoryTest, TheFirstAnswerCounts) {
  const MachineMemory one(cache_, {{"shape", 1}}), again(cache_, {{"shape", 1}}), other(cache_, {{"shape", 2}});
  EXPECT_FALSE(one.recall());
  EXPECT_EQ(one.keep({{"fast", "a"}}), Json({{"fast", "a"}}));
  EXPECT_EQ(again.keep({{"fast", "b"}}), Json({{"fast", "a"}}));
  EXPECT_EQ(again.recall(), Json({{"fast", "a"}}));
  EXPECT_FALSE(other.recall());
  EXPECT_EQ(files().size(), 1U);  // nothing half-made is left
}

TEST_F(MachineMemoryTest, ADamagedFileIsMeasuredAnew) {
  const MachineMemory memory(cache_, {{"shape", 1}});
  memory.keep(1);
  ASSERT_TRUE(write_file(files().at(0), "{half"));
  EXPECT_FALSE(memory.recall());
  EXPECT_EQ(memory.keep(2), Json(2));
  EXPECT_EQ(memory.recall(), Json(2));
}

TEST_F(MachineMemoryTest, ACacheThatCannotBeWrittenIsNoError) {
  ASSERT_TRUE(write_file(cache_, "a file where the folder would be"));
  const MachineMemory memory(cache_, {{"shape", 1}});
  EXPECT_FALSE(memory.recall());
  EXPECT_EQ(memory.keep(3), Json(3));
}

}  // namespace
}  // namespace retort::pipeline
