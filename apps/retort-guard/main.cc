#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "frame/frame.h"
#include "frame/signals.h"
#include "frame/terminal_progress.h"

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
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
                               .cache_folder = {},
                               .environment = [](const std::string& name) -> std::optional<std::string> {
                                 const char* value = std::getenv(name.c_str());
                                 return value == nullptr ? std::nullopt : std::optional<std::string>(value);
                               }};
  return retort::app::run_program(arguments, context, std::cerr);
}
