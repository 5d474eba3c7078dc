#include "model/attention_kernels.h"

#include "model/attention_layout.h"
#include "model/instruction_set.h"

namespace retort::model {

namespace attention_plain {
extern const AttentionKernels kKernels;
}
namespace attention_avx2 {
extern const AttentionKernels kKernels;
}
namespace attention_avx512 {
extern const AttentionKernels kKernels;
}

std::size_t attention_kernel_variants(const AttentionKernels* variants[3]) {
  return variants_that_run(attention_plain::kKernels, attention_avx2::kKernels, attention_avx512::kKernels, variants);
}

const AttentionKernels& attention_kernels() {
  const AttentionKernels* variants[3] = {};
  return *variants[attention_kernel_variants(variants) - 1];
}

std::size_t attention_scratch(std::size_t length, std::size_t head_dim, bool backward) {
  return AttentionLayout(length, head_dim, backward).floats;
}

std::size_t cached_attention_scratch(std::size_t heads, std::size_t seen, std::size_t head_dim) {
  return CachedLayout(heads, seen, head_dim).floats;
}

}  // namespace retort::model
