// Both programs start here: `retort`, and `retort-torch`, which has the verbs that need libtorch.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "catalogue/catalogue.h"
#include "frame/begin.h"
#include "frame/frame.h"

namespace {

constexpr std::string_view kCompanion = "retort-torch";

std::filesystem::path own_path() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error);
}

// Becomes retort-torch, which stands beside this program. Returns only when it can't.
void become_companion(char** argv) {
  const std::string companion = (own_path().parent_path() / kCompanion).string();
  execv(companion.c_str(), argv);
  std::cerr << "retort: This verb needs " << companion << ", which could not be started. Build it with `make build`.\n";
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (own_path().filename() != kCompanion && retort::app::belongs_to_companion(arguments)) {
    become_companion(argv);
    return 1;
  }
  return retort::app::begin(
      arguments, retort::catalogue::default_cache_folder(std::getenv("RETORT_CACHE"), std::getenv("XDG_CACHE_HOME"),
                                                         std::getenv("HOME")));
}
