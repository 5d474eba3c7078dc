#define RETORT_KERNELS_NAMESPACE kernels_avx2
#define RETORT_KERNELS_NAME "avx2"
#include "train/kernels_body.h"
