#include "train/kernels.h"

namespace retort::train {

namespace kernels_plain {
extern const Kernels kKernels;
}
namespace kernels_avx2 {
extern const Kernels kKernels;
}
namespace kernels_avx512 {
extern const Kernels kKernels;
}

std::size_t kernel_variants(const Kernels* variants[3]) {
  std::size_t count = 0;
  variants[count++] = &kernels_plain::kKernels;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) variants[count++] = &kernels_avx2::kKernels;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq")) {
    variants[count++] = &kernels_avx512::kKernels;
  }
#endif
  return count;
}

const Kernels& kernels() {
  const Kernels* variants[3] = {};
  return *variants[kernel_variants(variants) - 1];
}

}  // namespace retort::train
