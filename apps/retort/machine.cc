#include "retort/machine.h"

#include <sched.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <string_view>

#include "base/files.h"
#include "base/text.h"

namespace retort::app {
namespace {

// The kernel's files say their size is 0, so they are read as text, whole; absent is empty.
std::string text_at(const std::filesystem::path& path) { return read_file(path).value_or(""); }

// "key : value" lines; the first of equal keys.
std::map<std::string, std::string> fields_of(const std::string& text) {
  std::map<std::string, std::string> fields;
  for (const std::string& line : split(text, '\n')) {
    const std::size_t colon = line.find(':');
    if (colon != std::string::npos) {
      fields.emplace(trim(std::string_view(line).substr(0, colon)), trim(std::string_view(line).substr(colon + 1)));
    }
  }
  return fields;
}

std::optional<std::uint64_t> number_in(std::string_view text) {
  text = trim(text);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  return value;
}

int usable_cores(const std::filesystem::path& root, int of_machine) {
  int cores = of_machine;
  cpu_set_t set;
  if (root == "/" && sched_getaffinity(0, sizeof(set), &set) == 0) cores = CPU_COUNT(&set);
  // Control group 2: "quota period" in microseconds, or "max period".
  const std::vector<std::string> quota = split(trim(text_at(root / "sys/fs/cgroup/cpu.max")), ' ');
  if (quota.size() == 2) {
    const auto allowed = number_in(quota[0]);
    const auto period = number_in(quota[1]);
    if (allowed && period && *period > 0) {
      const double share = static_cast<double>(*allowed) / static_cast<double>(*period);
      cores = std::min(cores, std::max(1, static_cast<int>(std::ceil(share))));
    }
  }
  return cores;
}

std::vector<Gpu> gpus_of(const std::filesystem::path& root) {
  std::vector<Gpu> gpus;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(root / "proc/driver/nvidia/gpus", error)) {
    const auto fields = fields_of(text_at(entry.path() / "information"));
    const auto model = fields.find("Model");
    gpus.push_back({"NVIDIA", model == fields.end() ? "" : model->second});
  }
  if (gpus.empty() && std::filesystem::exists(root / "dev/nvidia0", error)) gpus.push_back({"NVIDIA", ""});
  if (std::filesystem::exists(root / "dev/kfd", error)) gpus.push_back({"AMD", ""});
  return gpus;
}

}  // namespace

Machine look_at_machine(const std::filesystem::path& root) {
  Machine machine;
  const std::string cpuinfo = text_at(root / "proc/cpuinfo");
  const auto cpu = fields_of(cpuinfo);
  if (const auto name = cpu.find("model name"); name != cpu.end()) machine.processor = name->second;
  for (const std::string& line : split(cpuinfo, '\n'))
    machine.cores_of_machine += line.starts_with("processor") ? 1 : 0;
  if (const auto flags = cpu.find("flags"); flags != cpu.end()) {
    const std::vector<std::string> all = split(flags->second, ' ');
    constexpr std::array kDecisive = {"avx2",    "fma",         "f16c",        "avx_vnni",
                                      "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16"};
    for (const char* flag : kDecisive) {
      if (std::find(all.begin(), all.end(), flag) != all.end()) machine.instruction_sets.emplace_back(flag);
    }
  }
  machine.cores = usable_cores(root, machine.cores_of_machine);

  const auto memory = fields_of(text_at(root / "proc/meminfo"));
  const auto kib = [&](const char* key) -> std::uint64_t {
    const auto found = memory.find(key);
    return found == memory.end() ? 0 : number_in(found->second).value_or(0) * 1024;
  };
  machine.memory_bytes = kib("MemTotal");
  machine.memory_available_bytes = kib("MemAvailable");
  if (const auto limit = number_in(text_at(root / "sys/fs/cgroup/memory.max"))) {
    machine.memory_bytes = std::min(machine.memory_bytes, *limit);
    machine.memory_available_bytes = std::min(machine.memory_available_bytes, *limit);
  }
  machine.gpus = gpus_of(root);
  return machine;
}

}  // namespace retort::app
