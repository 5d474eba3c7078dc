#include "frame/begin.h"

#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <utility>

#include "base/clock.h"
#include "frame/frame.h"
#include "frame/signals.h"
#include "frame/terminal_progress.h"

namespace retort::app {

int begin(const std::vector<std::string>& arguments, std::filesystem::path cache_folder) {
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is an error of a write, not the end
  SignalStop signals;
  std::ios::sync_with_stdio(false);
  SystemClock clock;
  TerminalProgress progress(stderr, isatty(STDERR_FILENO) != 0, clock);
  Context context{.in = std::cin,
                  .out = std::cout,
                  .out_is_terminal = isatty(STDOUT_FILENO) != 0,
                  .progress = progress,
                  .clock = clock,
                  .stop = signals.token(),
                  .pieces = &signals,
                  .cache_folder = std::move(cache_folder),
                  .environment = [](const std::string& name) -> std::optional<std::string> {
                    const char* value = std::getenv(name.c_str());
                    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
                  }};
  return run_program(arguments, context, std::cerr);
}

}  // namespace retort::app
