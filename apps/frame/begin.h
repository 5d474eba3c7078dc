// How a program begins: signals first, then what its verbs may use, then the verb.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace retort::app {

// Runs `arguments` (without the program's name) with the process's own streams, clock, signals and environment, and
// returns the exit code. To be called once, from main(), before any thread exists.
int begin(const std::vector<std::string>& arguments, std::filesystem::path cache_folder);

}  // namespace retort::app
