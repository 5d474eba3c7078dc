// SIGINT and SIGTERM as a stop_token.
//
// The first signal requests a stop, so that the work ends at a safe place and the same command can go on later; the
// second ends the process at once with status 130. Construct it first in main(), before any other thread exists: the
// signals are blocked there and waited for on a thread of its own.
#pragma once

#include <stop_token>
#include <thread>

namespace retort::app {

class SignalStop {
 public:
  SignalStop();
  ~SignalStop();
  SignalStop(const SignalStop&) = delete;
  SignalStop& operator=(const SignalStop&) = delete;

  std::stop_token token() const { return source_.get_token(); }

 private:
  std::stop_source source_;
  std::thread waiter_;
};

}  // namespace retort::app
