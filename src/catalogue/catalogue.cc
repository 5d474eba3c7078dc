#include "catalogue/catalogue.h"

#include <array>
#include <vector>

#include "base/text.h"

namespace retort::catalogue {
namespace {

constexpr std::array kModels = {
    Model{"smollm2-135m-instruct", "SmolLM2-135M-Instruct.Q4_1.gguf",
          "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
          "SmolLM2 135M Instruct, Q4_1, Apache-2.0, 98 MB"},
};

}  // namespace

std::span<const Model> models() { return kModels; }

std::filesystem::path default_cache_folder(const char* retort_cache, const char* xdg_cache_home, const char* home) {
  const auto given = [](const char* value) { return value != nullptr && *value != '\0'; };
  if (given(retort_cache)) return retort_cache;
  if (given(xdg_cache_home)) return std::filesystem::path(xdg_cache_home) / "retort";
  return std::filesystem::path(given(home) ? home : ".") / ".cache" / "retort";
}

Result<std::filesystem::path> find_model(const std::string& path_or_name, const std::filesystem::path& cache_folder) {
  std::vector<std::string> names;
  for (const Model& model : kModels) {
    names.emplace_back(model.name);
    if (path_or_name != model.name) continue;
    const std::filesystem::path path = cache_folder / "models" / model.file_name;
    if (std::error_code error; std::filesystem::is_regular_file(path, error)) return path;
    return caller_error("The model '" + path_or_name + "' is not in the cache (" + path.string() +
                        "). Run `make setup`, which fetches it.");
  }
  std::error_code error;
  if (std::filesystem::is_regular_file(path_or_name, error)) return std::filesystem::path(path_or_name);
  if (std::filesystem::exists(path_or_name, error)) {
    return caller_error("'" + path_or_name + "' is not a file; a GGUF file was expected.");
  }
  const std::string near = nearest(path_or_name, names);
  return caller_error("There is no model file '" + path_or_name + "', and no model of that name." +
                      (near.empty() ? " Give the path of a GGUF file, or the name " + names.front() + "."
                                    : " Did you mean '" + near + "'?"));
}

}  // namespace retort::catalogue
