#include "train/memory.h"

#if defined(RETORT_TCMALLOC)
#include <gperftools/malloc_extension_c.h>
#endif
#include <sys/resource.h>

#include <cstdlib>
#include <fstream>
#include <string>

namespace retort::train {

void forget_old_shapes() {
  // oneDNN keeps what it made for a product's shape, a quarter to half a megabyte each, for the last 1,024 shapes. A
  // step has some twenty, and the next one, of another length, needs few of them.
  setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128", 0);
}

void release_memory() {
#if defined(RETORT_TCMALLOC)
  MallocExtension_ReleaseFreeMemory();
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
