#include "train/memory.h"

#if defined(__GLIBC__) || defined(__linux__)
#include <malloc.h>
#endif
#include <sys/resource.h>

#include <cstdlib>
#include <fstream>
#include <string>

namespace retort::train {

void keep_freed_memory() {
#if defined(__GLIBC__)
  // Large blocks come from the heap, which only grows (mallopt(3)).
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 64 << 20);
#endif
  // oneDNN keeps what it made for a product's shape, a quarter to half a megabyte each, for the last 1,024 shapes. A
  // step has some twenty, and the next one, of other rows, needs none of them.
  setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128", 0);
}

void release_memory() {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

std::int64_t peak_memory_bytes() {
  // "VmHWM:   123 kB" (proc(5)).
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6)) * 1024;
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
}

void reset_peak_memory() {
  std::ofstream("/proc/self/clear_refs") << "5";  // "reset the peak resident set size" (proc(5))
}

}  // namespace retort::train
