// evaluate::Health as JSON, for evaluate/details.json, and back. Pure; any thread.
#pragma once

#include <string>

#include "base/error.h"
#include "base/json.h"
#include "evaluate/health.h"

namespace retort::pipeline {

Json to_json(const evaluate::Health& health);
Result<evaluate::Health> health_from_json(const Json& json, const std::string& what);

Json to_json(const Estimate& estimate);
Result<Estimate> estimate_from_json(const Json& json, const std::string& what);

}  // namespace retort::pipeline
