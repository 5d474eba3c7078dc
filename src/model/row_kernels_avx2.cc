#define RETORT_KERNELS_NAMESPACE rows_avx2
#define RETORT_KERNELS_NAME "avx2"
#include "model/row_kernels_body.h"
