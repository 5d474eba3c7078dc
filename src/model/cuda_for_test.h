// Whether this machine has a GPU to test on. For tests.
//
// Asked before anything else of a test program: libtorch remembers that there was no CUDA when it was first asked, and
// drawing numbers asks.
#pragma once

#include "model/backend.h"

namespace retort::model {

inline const bool kCudaIsThere = static_cast<bool>(open_cuda());

}  // namespace retort::model
