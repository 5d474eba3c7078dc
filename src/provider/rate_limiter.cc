#include "provider/rate_limiter.h"

#include <algorithm>

namespace retort::provider {
namespace {

// Of the limit: what is lost to clocks that differ and to requests that are counted when they arrive.
constexpr double kShare = 0.985;
// Seconds' worth that a bucket holds.
constexpr double kBurst_s = 3;

}  // namespace

double RateLimiter::Bucket::rate() const { return per_minute * kShare / 60; }
double RateLimiter::Bucket::most() const { return std::max(1.0, rate() * kBurst_s); }

void RateLimiter::Bucket::fill(double now_s) {
  if (per_minute <= 0) return;
  if (!filled) {
    filled = true;
    level = most();
    last_s = now_s;
  }
  level = std::min(most(), level + (now_s - last_s) * rate());
  last_s = now_s;
}

// A request larger than the bucket starts when the bucket is full.
double RateLimiter::Bucket::wait_s(double amount) const {
  if (per_minute <= 0) return 0;
  const double missing = std::min(amount, most()) - level;
  // Rounding must not leave a wait that no clock can measure.
  return missing <= 1e-9 * most() ? 0 : missing / rate();
}

void RateLimiter::Bucket::learn(double now_s, const ToldLimit& told) {
  if (told.limit && *told.limit > 0) {
    const bool lower = per_minute <= 0 || *told.limit < per_minute;
    if (lower || !given) {
      per_minute = *told.limit;
      fill(now_s);
    }
  }
  // Others may use the same limit: never believe in more than the service says is left.
  if (told.remaining && per_minute > 0) level = std::min(level, *told.remaining * kShare);
}

RateLimiter::RateLimiter(double requests_per_minute, double tokens_per_minute) {
  requests_.per_minute = requests_per_minute;
  requests_.given = requests_per_minute > 0;
  tokens_.per_minute = tokens_per_minute;
  tokens_.given = tokens_per_minute > 0;
}

double RateLimiter::wait_s(double now_s, double predicted_tokens) {
  requests_.fill(now_s);
  tokens_.fill(now_s);
  return std::max({requests_.wait_s(1), tokens_.wait_s(predicted_tokens), blocked_until_s_ - now_s, 0.0});
}

void RateLimiter::start(double now_s, double predicted_tokens) {
  requests_.fill(now_s);
  tokens_.fill(now_s);
  requests_.level -= 1;
  tokens_.level -= predicted_tokens;
}

void RateLimiter::finish(double now_s, double predicted_tokens, double actual_tokens) {
  tokens_.fill(now_s);
  tokens_.level += predicted_tokens - actual_tokens;
}

void RateLimiter::told(double now_s, const ToldLimits& limits) {
  requests_.learn(now_s, limits.requests);
  tokens_.learn(now_s, limits.tokens);
}

void RateLimiter::block_until(double time_s) { blocked_until_s_ = std::max(blocked_until_s_, time_s); }

}  // namespace retort::provider
