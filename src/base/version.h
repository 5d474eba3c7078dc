// The one place where the version is said; CMake reads it from here.
#pragma once

#include <string_view>

namespace retort {

inline constexpr std::string_view kVersion = "0.1.0";

}  // namespace retort
