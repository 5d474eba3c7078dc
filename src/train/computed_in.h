// How a student is computed: as its teacher is, where there is one.
#pragma once

#include "model/backend.h"
#include "model/compute_type.h"

namespace retort::train {

struct ComputedIn {
  model::ComputeType type = model::ComputeType::kFloat32;
  model::Backend backend = model::Backend::kKernels;
};

}  // namespace retort::train
