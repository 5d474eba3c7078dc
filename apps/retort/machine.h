// What this machine has: processor, memory, graphics processors, as the Linux kernel tells it.
//
// Plain reading of text files below `root` ("/" for the real machine, a folder of a test's own otherwise); what is not
// there stays empty or zero. Nothing is executed and no driver is loaded. Any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace retort::app {

struct Gpu {
  std::string vendor;  // "NVIDIA", "AMD"
  std::string name;    // empty when the driver doesn't say
};

struct Machine {
  std::string processor;                      // the model name of /proc/cpuinfo
  std::vector<std::string> instruction_sets;  // of those that decide our speed: avx2, avx512f, avx512_bf16, amx_bf16, …
  int cores = 0;                              // that this process may use: affinity and control group considered
  int cores_of_machine = 0;
  std::uint64_t memory_bytes = 0;            // of the machine, or of the control group when that is less
  std::uint64_t memory_available_bytes = 0;  // the kernel's estimate
  std::vector<Gpu> gpus;
};

Machine look_at_machine(const std::filesystem::path& root);

}  // namespace retort::app
