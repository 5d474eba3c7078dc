// Models known by a short name: a pinned list, and where their files lie in the user's cache.
//
// Pure lookups; nothing here fetches (scripts/fetch does, for `make setup`). Any thread.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace retort::catalogue {

struct Model {
  std::string_view name;         // "smollm2-135m-instruct"
  std::string_view file_name;    // in the cache's folder models/
  std::string_view sha256;       // of the file, hexadecimal
  std::string_view description;  // for people
};

std::span<const Model> models();

// The user's cache: `retort_cache` if given, else `xdg_cache_home`/retort, else `home`/.cache/retort. The arguments are
// the environment's values (null: not set).
std::filesystem::path default_cache_folder(const char* retort_cache, const char* xdg_cache_home, const char* home);

// An existing file's path as it is, or the file of a name of the list. Error (kCaller): neither; names the nearest
// name, or says how to fetch the file.
Result<std::filesystem::path> find_model(const std::string& path_or_name, const std::filesystem::path& cache_folder);

}  // namespace retort::catalogue
