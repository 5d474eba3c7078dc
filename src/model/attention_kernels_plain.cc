#define RETORT_KERNELS_NAMESPACE attention_plain
#define RETORT_KERNELS_NAME "x86-64"
#define RETORT_TILE_VECTORS 1
#include "model/attention_kernels_body.h"
