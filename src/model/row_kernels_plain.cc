#define RETORT_KERNELS_NAMESPACE rows_plain
#define RETORT_KERNELS_NAME "x86-64"
#include "model/row_kernels_body.h"
