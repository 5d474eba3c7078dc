#include "train/kernels.h"

#include "model/instruction_set.h"

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
  return model::variants_that_run(kernels_plain::kKernels, kernels_avx2::kKernels, kernels_avx512::kKernels, variants);
}

const Kernels& kernels() {
  const Kernels* variants[3] = {};
  return *variants[kernel_variants(variants) - 1];
}

}  // namespace retort::train
