// Names Json without the cost of its definition.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace retort {

using Json = nlohmann::json;

}  // namespace retort
