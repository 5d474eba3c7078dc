#define RETORT_KERNELS_NAMESPACE kernels_avx512
#define RETORT_KERNELS_NAME "avx512"
#include "train/kernels_body.h"
