// Keeps what is asked of one service below its limits, and as near to them as it can.
//
// Two buckets, requests and tokens, each filled evenly with its minute's worth. A request takes what it is predicted
// to use when it starts, and the difference when it is known; so a wrong prediction is paid back at once, and the rate
// over a minute is the limit whatever the answers' lengths are. Buckets hold a few seconds only: a burst after a pause
// would meet servers that count by the second.
//
// The caller gives the time (seconds, any start, never going back). Pure otherwise; one thread per object.
#pragma once

#include <optional>

#include "provider/limit_headers.h"

namespace retort::provider {

class RateLimiter {
 public:
  // Per minute; 0: no limit known.
  RateLimiter(double requests_per_minute, double tokens_per_minute);

  // Seconds until a request of so many predicted tokens may start; 0: now.
  double wait_s(double now_s, double predicted_tokens);
  void start(double now_s, double predicted_tokens);
  // The request has ended and used `actual_tokens` of the predicted ones.
  void finish(double now_s, double predicted_tokens, double actual_tokens);
  // What an answer's headers said: limits that weren't known, less left than thought, and a time to wait.
  void told(double now_s, const ToldLimits& limits);
  // Nothing starts before then.
  void block_until(double time_s);

  double tokens_per_minute() const { return tokens_.per_minute; }

 private:
  struct Bucket {
    double per_minute = 0;  // 0: none
    bool given = false;     // by the recipe: a service may lower it, never raise it
    double level = 0;
    double last_s = 0;
    bool filled = false;
    void fill(double now_s);
    double wait_s(double amount) const;
    void learn(double now_s, const ToldLimit& told);
    double most() const;
    double rate() const;
  };
  Bucket requests_;
  Bucket tokens_;
  double blocked_until_s_ = 0;
};

}  // namespace retort::provider
