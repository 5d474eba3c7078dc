#include "model/attention_kernels.h"

#include <algorithm>

#include "model/attention_kernels_amx.h"
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

std::size_t attention_kernel_variants(const AttentionKernels* variants[kMostAttentionKernels]) {
  static const AttentionKernels amx = [] {
    AttentionKernels kernels = attention_avx512::kKernels;
    kernels.name = "amx";
    kernels.forward_bf16 = attention_amx::forward;
    kernels.backward_bf16 = attention_amx::backward;
    return kernels;
  }();
  std::size_t count =
      variants_that_run(attention_plain::kKernels, attention_avx2::kKernels, attention_avx512::kKernels, variants);
  if (runs_amx_bf16()) variants[count++] = &amx;
  return count;
}

const AttentionKernels& attention_kernels() {
  const AttentionKernels* variants[kMostAttentionKernels] = {};
  return *variants[attention_kernel_variants(variants) - 1];
}

std::size_t attention_scratch(std::size_t length, std::size_t head_dim, bool backward) {
  return std::max(AttentionLayout(length, head_dim, backward).floats,
                  TiledAttentionLayout(length, head_dim, backward).floats);
}

std::size_t cached_attention_scratch(std::size_t heads, std::size_t seen, std::size_t head_dim) {
  return CachedLayout(heads, seen, head_dim).floats;
}

}  // namespace retort::model
