// Waiting for a server of one's own that isn't ready yet.
//
// vLLM, SGLang, llama.cpp and `retort serve` load a model for minutes, and say so in one of three ways: 503 (502 or 504
// where a proxy stands before them), no port that listens, or one that is closed at once. Whoever starts server and
// collection together wants the second to wait for the first. A hosted provider, a denial (401, 403, 404) and a host
// that nobody knows are never waited for. Internal to the module; borrows everything; one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/progress.h"
#include "base/random.h"
#include "net/transport.h"

namespace retort::collect {

class ReadyWait {
 public:
  // `most_s`: over all endpoints, from when the first wasn't ready.
  ReadyWait(double most_s, std::uint64_t seed, net::Transport& transport, const Clock& clock, Progress& progress,
            std::stop_token stop)
      : most_s_(most_s),
        random_(seed),
        transport_(transport),
        clock_(clock),
        progress_(progress),
        stop_(std::move(stop)) {}

  // One call by itself. Error (kInterrupted): the user's wish; what was under way is abandoned.
  Result<net::HttpOutcome> perform(net::HttpCall call);

  // Whether what `url` answered says that it isn't ready, and it shall be asked again: then its time to wait is over.
  // `free`: the call cost nothing, so that a cut connection may be asked again too. False: it is ready, or is no server
  // of one's own. Errors: kWorld, it was never ready; kInterrupted.
  Result<bool> again(const std::string& url, const net::HttpOutcome& outcome, bool free);

  // Whether an error of perform() or again() ended it.
  bool gave_up() const { return gave_up_; }

 private:
  Result<void> pause(double seconds);
  Failure stopped();

  const double most_s_;
  Random random_;
  net::Transport& transport_;
  const Clock& clock_;
  Progress& progress_;
  std::stop_token stop_;

  std::string waiting_for_;  // the URL; empty: none
  std::string reason_;       // last told
  std::optional<double> since_s_;
  double pause_s_ = 0;
  bool gave_up_ = false;
};

}  // namespace retort::collect
