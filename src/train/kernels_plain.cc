#define RETORT_KERNELS_NAMESPACE kernels_plain
#define RETORT_KERNELS_NAME "x86-64"
#include "train/kernels_body.h"
