#define RETORT_KERNELS_NAMESPACE attention_avx2
#define RETORT_KERNELS_NAME "avx2"
#define RETORT_TILE_VECTORS 1
#include "model/attention_kernels_body.h"
