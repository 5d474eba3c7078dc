#include "frame/signals.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <string_view>

namespace retort::app {
namespace {

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGUSR2);  // our own: ends the waiter
  return set;
}

void say(std::string_view text) {
  // Nothing can be done when standard error is gone.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
}

}  // namespace

SignalStop::SignalStop() {
  const sigset_t set = stop_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  waiter_ = std::thread([this, set] {
    while (true) {
      int signal_number = 0;
      if (sigwait(&set, &signal_number) != 0 || signal_number == SIGUSR2) return;
      if (signal_number == SIGINT && stop_piece()) continue;
      if (source_.stop_requested()) {
        say("\n");
        _exit(130);
      }
      say("\nStopping at the next safe place; press Ctrl-C again to stop at once.\n");
      source_.request_stop();
    }
  });
}

std::stop_token SignalStop::begin_piece() {
  const std::lock_guard lock(mutex_);
  return piece_.emplace().get_token();
}

void SignalStop::end_piece() {
  const std::lock_guard lock(mutex_);
  piece_.reset();
}

bool SignalStop::stop_piece() {
  const std::lock_guard lock(mutex_);
  return piece_ && piece_->request_stop();
}

SignalStop::~SignalStop() {
  pthread_kill(waiter_.native_handle(), SIGUSR2);
  waiter_.join();
}

}  // namespace retort::app
