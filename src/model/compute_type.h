// The type matrices are kept and multiplied in. Master weights, norms, rotation and softmax are FP32 in either.
#pragma once

#include <string_view>

#include "base/error.h"

namespace retort::model {

enum class ComputeType { kFloat32, kBFloat16 };

std::string_view name_of(ComputeType type);  // "float32", "bfloat16"
Result<ComputeType> compute_type_from_name(std::string_view name);

}  // namespace retort::model
