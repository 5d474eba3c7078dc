// Both programs start here: `retort`, and `retort-torch`, which has the verbs that need libtorch.
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "catalogue/catalogue.h"
#include "frame/frame.h"
#include "frame/signals.h"
#include "frame/terminal_progress.h"

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
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is an error of a write, not the end
  retort::app::SignalStop signals;
  std::ios::sync_with_stdio(false);
  retort::SystemClock clock;
  retort::app::TerminalProgress progress(stderr, isatty(STDERR_FILENO) != 0, clock);
  retort::app::Context context{.in = std::cin,
                               .out = std::cout,
                               .out_is_terminal = isatty(STDOUT_FILENO) != 0,
                               .progress = progress,
                               .clock = clock,
                               .stop = signals.token(),
                               .pieces = &signals,
                               .cache_folder = retort::catalogue::default_cache_folder(
                                   std::getenv("RETORT_CACHE"), std::getenv("XDG_CACHE_HOME"), std::getenv("HOME")),
                               .environment = [](const std::string& name) -> std::optional<std::string> {
                                 const char* value = std::getenv(name.c_str());
                                 return value == nullptr ? std::nullopt : std::optional<std::string>(value);
                               }};
  return retort::app::run_program(arguments, context, std::cerr);
}
