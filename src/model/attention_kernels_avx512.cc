#define RETORT_KERNELS_NAMESPACE attention_avx512
#define RETORT_KERNELS_NAME "avx512"
#define RETORT_TILE_VECTORS 4
#include "model/attention_kernels_body.h"
