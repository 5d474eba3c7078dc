// A world for tests: answers are made by a function, and time passes only while somebody waits.
//
// One thread. The clock is the one that the code under test is given too.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "net/transport.h"

namespace retort::net {

struct ScriptedAnswer {
  HttpOutcome outcome;
  double delay_s = 0.1;
};

inline HttpOutcome json_outcome(int status, std::string body) {
  HttpOutcome outcome;
  outcome.status = status;
  outcome.headers.add("content-type", "application/json");
  outcome.body = std::move(body);
  return outcome;
}

class ScriptedTransport final : public Transport {
 public:
  using Script = std::function<ScriptedAnswer(const HttpCall& call)>;
  ScriptedTransport(ManualClock& clock, Script script) : clock_(clock), script_(std::move(script)) {}

  void start(std::uint64_t tag, HttpCall call) override {
    ScriptedAnswer answer = script_(call);
    answer.outcome.seconds = answer.delay_s;
    due_.emplace(clock_.monotonic_s() + answer.delay_s, FinishedCall{tag, std::move(answer.outcome)});
    most_in_flight = std::max(most_in_flight, due_.size());
  }

  std::vector<FinishedCall> wait(double seconds) override {
    const double until_s = clock_.monotonic_s() + seconds;
    if (due_.empty() || due_.begin()->first > until_s) {
      clock_.advance_s(std::max(seconds, 1e-6));
      return {};
    }
    if (due_.begin()->first > clock_.monotonic_s()) clock_.advance_s(due_.begin()->first - clock_.monotonic_s());
    std::vector<FinishedCall> finished;
    while (!due_.empty() && due_.begin()->first <= clock_.monotonic_s()) {
      finished.push_back(std::move(due_.begin()->second));
      due_.erase(due_.begin());
    }
    return finished;
  }

  void abandon() override { due_.clear(); }

  std::size_t most_in_flight = 0;

 private:
  ManualClock& clock_;
  Script script_;
  std::multimap<double, FinishedCall> due_;
};

}  // namespace retort::net
