#include "model/compute_type.h"

namespace retort::model {

std::string_view name_of(ComputeType type) { return type == ComputeType::kBFloat16 ? "bfloat16" : "float32"; }

Result<ComputeType> compute_type_from_name(std::string_view name) {
  if (name == "float32") return ComputeType::kFloat32;
  if (name == "bfloat16") return ComputeType::kBFloat16;
  return caller_error("'" + std::string(name) + "' is no compute type; expected float32 or bfloat16.");
}

}  // namespace retort::model
