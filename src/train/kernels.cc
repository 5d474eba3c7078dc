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
  const auto best = model::best_instruction_set();
  std::size_t count = 0;
  variants[count++] = &kernels_plain::kKernels;
  if (best >= model::InstructionSet::kAvx2) variants[count++] = &kernels_avx2::kKernels;
  if (best >= model::InstructionSet::kAvx512) variants[count++] = &kernels_avx512::kKernels;
  return count;
}

const Kernels& kernels() {
  const Kernels* variants[3] = {};
  return *variants[kernel_variants(variants) - 1];
}

}  // namespace retort::train
