#define RETORT_KERNELS_NAMESPACE rows_avx512
#define RETORT_KERNELS_NAME "avx512"
#include "model/row_kernels_body.h"
