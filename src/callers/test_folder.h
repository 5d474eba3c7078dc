// A registry in a folder of its own that goes with the test.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <string>

#include "callers/registry.h"

namespace retort::callers {

class TestFolder {
 public:
  TestFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "retort-callers-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  RegistryPaths paths() const { return RegistryPaths::in(path_); }
  Registry open() const {
    auto opened = Registry::open(paths());
    RETORT_CHECK(opened.has_value());
    return std::move(*opened);
  }

 private:
  std::filesystem::path path_;
};

constexpr std::int64_t kDay_ms = 86'400'000;
inline By ada(std::int64_t at_unix_ms = 1'000) { return {"ada", at_unix_ms}; }

}  // namespace retort::callers
