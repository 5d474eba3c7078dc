#include "train/memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

namespace retort::train {
namespace {

std::int64_t resident_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::stoll(line.substr(6)) * 1024;
  }
  return 0;
}

// Blocks of ever other sizes, all written to, freed again.
void use_and_free(std::int64_t bytes) {
  std::vector<std::unique_ptr<char[]>> blocks;
  std::size_t size = std::size_t{1} << 20;
  for (std::int64_t used = 0; used < bytes; used += static_cast<std::int64_t>(size), size += 4096) {
    blocks.emplace_back(new char[size]);
    std::memset(blocks.back().get(), 1, size);
  }
}

TEST(Memory, IsKeptWhenFreedUntilItIsReleased) {
#if !defined(RETORT_TCMALLOC)
  GTEST_SKIP() << "built with a sanitizer, which has an allocator of its own";
#endif
  if (resident_bytes() == 0) GTEST_SKIP() << "this system doesn't say what a process has in memory";
  constexpr std::int64_t kUsed = 256 << 20;
  release_memory();
  const std::int64_t before = resident_bytes();
  use_and_free(kUsed);
  EXPECT_GT(resident_bytes(), before + kUsed / 2);
  EXPECT_GE(peak_memory_bytes(), before + kUsed);
  release_memory();
  EXPECT_LT(resident_bytes(), before + kUsed / 4);
}

}  // namespace
}  // namespace retort::train
