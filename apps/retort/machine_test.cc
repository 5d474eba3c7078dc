#include "retort/machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace retort::app {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class MachineTest : public testing::Test {
 protected:
  MachineTest() : root_(std::filesystem::path(testing::TempDir()) / "machine_test") {
    std::filesystem::remove_all(root_);
    write("proc/cpuinfo",
          "processor\t: 0\nmodel name\t: Test CPU 9000\nflags\t\t: fpu avx2 fma avx512f amx_bf16 \n\n"
          "processor\t: 1\nmodel name\t: Test CPU 9000\nflags\t\t: fpu avx2\n");
    write("proc/meminfo", "MemTotal:       16000000 kB\nMemFree:  1 kB\nMemAvailable:    8000000 kB\n");
  }
  ~MachineTest() override { std::filesystem::remove_all(root_); }
  void write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text;
  }
  std::filesystem::path root_;
};

TEST_F(MachineTest, ReadsProcessorAndMemory) {
  const Machine machine = look_at_machine(root_);
  EXPECT_EQ(machine.processor, "Test CPU 9000");
  EXPECT_THAT(machine.instruction_sets, ElementsAre("avx2", "fma", "avx512f", "amx_bf16"));
  EXPECT_EQ(machine.cores, 2);
  EXPECT_EQ(machine.cores_of_machine, 2);
  EXPECT_EQ(machine.memory_bytes, 16'000'000ULL * 1024);
  EXPECT_EQ(machine.memory_available_bytes, 8'000'000ULL * 1024);
  EXPECT_THAT(machine.gpus, IsEmpty());
}

TEST_F(MachineTest, AControlGroupSetsTheLimits) {
  write("sys/fs/cgroup/cpu.max", "100000 100000\n");
  write("sys/fs/cgroup/memory.max", "2000000000\n");
  const Machine machine = look_at_machine(root_);
  EXPECT_EQ(machine.cores, 1);
  EXPECT_EQ(machine.memory_bytes, 2'000'000'000U);
  write("sys/fs/cgroup/cpu.max", "max 100000\n");
  write("sys/fs/cgroup/memory.max", "max\n");
  EXPECT_EQ(look_at_machine(root_).cores, 2);
  EXPECT_EQ(look_at_machine(root_).memory_bytes, 16'000'000ULL * 1024);
}

TEST_F(MachineTest, NamesGraphicsProcessors) {
  write("proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: \t\t NVIDIA Test 1\nIRQ: 1\n");
  std::vector<Gpu> gpus = look_at_machine(root_).gpus;
  ASSERT_EQ(gpus.size(), 1U);
  EXPECT_EQ(gpus[0].vendor, "NVIDIA");
  EXPECT_EQ(gpus[0].name, "NVIDIA Test 1");
}

TEST_F(MachineTest, ADeviceFileIsEnoughWhenTheDriverIsSilent) {
  write("dev/nvidia0", "");
  write("dev/kfd", "");
  const std::vector<Gpu> gpus = look_at_machine(root_).gpus;
  ASSERT_EQ(gpus.size(), 2U);
  EXPECT_EQ(gpus[0].vendor, "NVIDIA");
  EXPECT_EQ(gpus[1].vendor, "AMD");
}

TEST(Machine, TheRealOneHasACore) {
  const Machine machine = look_at_machine("/");
  EXPECT_GE(machine.cores, 1);
  EXPECT_GT(machine.memory_bytes, 0U);
}

}  // namespace
}  // namespace retort::app
