// Where evidence lies, as `verify` and `export` are told: its folder, or the configuration that names it
// (evidence.path).
#pragma once

#include <filesystem>
#include <string>

#include "base/error.h"

namespace retort::app {

// `given`: a folder, or GUARD.yaml. Error (kCaller): neither, or a configuration that keeps no evidence.
Result<std::filesystem::path> evidence_folder(const std::string& given);

}  // namespace retort::app
