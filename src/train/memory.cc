#include "train/memory.h"

#if defined(__GLIBC__) || defined(__linux__)
#include <malloc.h>
#endif

namespace retort::train {

void keep_freed_memory() {
#if defined(__GLIBC__)
  // Large blocks come from the heap, which only grows (mallopt(3)).
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 64 << 20);
#endif
}

}  // namespace retort::train
