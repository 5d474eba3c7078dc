// SIGINT and SIGTERM as a stop_token.
//
// The first signal requests a stop, so that the work ends at a safe place and the same command can go on later; the
// second ends the process at once with status 130. Construct it first in main(), before any other thread exists: the
// signals are blocked there and waited for on a thread of its own. While a piece of work runs (an answer of a chat),
// the first SIGINT ends that piece alone.
#pragma once

#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>

#include "retort/verb.h"

namespace retort::app {

class SignalStop final : public PieceStop {
 public:
  SignalStop();
  ~SignalStop() override;
  SignalStop(const SignalStop&) = delete;
  SignalStop& operator=(const SignalStop&) = delete;

  std::stop_token token() const { return source_.get_token(); }
  std::stop_token begin_piece() override;
  void end_piece() override;

 private:
  // True when the signal was for the piece that runs.
  bool stop_piece();

  std::mutex mutex_;
  std::optional<std::stop_source> piece_;
  std::stop_source source_;
  std::thread waiter_;
};

}  // namespace retort::app
