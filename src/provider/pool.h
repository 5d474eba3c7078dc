// The endpoints of one teacher: which is asked next, how many requests each has, and which are resting.
//
// Concurrency is found by trying, as TCP does (additive increase, multiplicative decrease, RFC 5681): an endpoint's
// window doubles while it answers, grows by one a round after it was first told to slow down, and shrinks at each sign
// of congestion, once a round. An endpoint that fails rests for a while that grows with every failure in a row.
//
// The caller gives the time. Pure otherwise; one thread per object.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "provider/rate_limiter.h"
#include "provider/verdict.h"

namespace retort::provider {

// One server, with what is needed to ask it. The key is never printed.
struct Endpoint {
  std::string url;
  std::string key;
  double requests_per_minute = 0;  // 0: none of its own
  double tokens_per_minute = 0;
};

struct PoolOptions {
  std::size_t concurrency = 64;    // over all endpoints
  double requests_per_minute = 0;  // over all endpoints; 0: none
  double tokens_per_minute = 0;
  std::uint64_t seed = 1;  // of the jitter
};

class Pool {
 public:
  Pool(std::vector<Endpoint> endpoints, const PoolOptions& options);

  struct Choice {
    std::optional<std::size_t> endpoint;  // absent: none can take a request now
    double wait_s = 0;                    // until one may, as far as can be told
  };
  Choice choose(double now_s, double predicted_tokens);
  void start(std::size_t endpoint, double now_s, double predicted_tokens);
  // `actual_tokens` as they will be charged: 0 for a refusal. `answer_s`: how long it took.
  void finish(std::size_t endpoint, double now_s, double predicted_tokens, double actual_tokens, double answer_s,
              const Verdict& verdict, const ToldLimits& told);

  // Seconds before a request that failed `failures` times is asked again: full jitter over an exponential bound
  // (Brooker, "Exponential Backoff and Jitter", 2015), never earlier than the service asked for.
  double backoff_s(int failures, const ToldLimits& told);

  const Endpoint& at(std::size_t endpoint) const { return states_[endpoint].endpoint; }
  std::size_t in_flight() const { return in_flight_; }
  // What the window of an endpoint has grown to.
  double window(std::size_t endpoint) const { return states_[endpoint].window; }

 private:
  struct State {
    Endpoint endpoint;
    RateLimiter limiter;
    double window = 4;
    double threshold;  // below it the window doubles
    std::size_t in_flight = 0;
    double last_decrease_s = -1e9;
    double round_s = 1;         // how long an answer takes
    double last_full_s = -1e9;  // when the window was last what held a request back
    double resting_until_s = 0;
    int failures_in_a_row = 0;
  };
  void congested(State& state, double now_s) const;

  PoolOptions options_;
  RateLimiter all_;
  std::vector<State> states_;
  std::size_t in_flight_ = 0;
  Random random_;
};

}  // namespace retort::provider
