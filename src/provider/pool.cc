#include "provider/pool.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace retort::provider {
namespace {

constexpr double kDecrease = 0.7;
constexpr double kRoundShare = 0.1;  // of the newest answer in the mean
constexpr double kFirstBackoff_s = 0.5;
constexpr double kLongestBackoff_s = 60;
constexpr double kLongestRest_s = 30;
constexpr int kMostDoublings = 16;

double doubled(double first_s, int times) { return first_s * std::exp2(std::clamp(times, 0, kMostDoublings)); }

}  // namespace

Pool::Pool(std::vector<Endpoint> endpoints, const PoolOptions& options)
    : options_(options), all_(options.requests_per_minute, options.tokens_per_minute), random_(options.seed) {
  for (Endpoint& endpoint : endpoints) {
    RateLimiter limiter(endpoint.requests_per_minute, endpoint.tokens_per_minute);
    State state{
        .endpoint = std::move(endpoint), .limiter = limiter, .threshold = static_cast<double>(options.concurrency)};
    state.window = std::min(state.window, state.threshold);
    states_.push_back(std::move(state));
  }
}

Pool::Choice Pool::choose(double now_s, double predicted_tokens) {
  Choice choice;
  choice.wait_s = std::numeric_limits<double>::infinity();
  if (in_flight_ >= options_.concurrency) return choice;
  const double for_all_s = all_.wait_s(now_s, predicted_tokens);
  double least_loaded = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < states_.size(); ++i) {
    State& state = states_[i];
    if (static_cast<double>(state.in_flight) + 1 > state.window) {
      state.last_full_s = now_s;
      continue;
    }
    const double wait_s =
        std::max({for_all_s, state.limiter.wait_s(now_s, predicted_tokens), state.resting_until_s - now_s, 0.0});
    if (wait_s > 0) {
      choice.wait_s = std::min(choice.wait_s, wait_s);
      continue;
    }
    const double load = static_cast<double>(state.in_flight) / state.window;
    if (load < least_loaded) {
      least_loaded = load;
      choice.endpoint = i;
      choice.wait_s = 0;
    }
  }
  return choice;
}

void Pool::start(std::size_t endpoint, double now_s, double predicted_tokens) {
  State& state = states_[endpoint];
  ++state.in_flight;
  ++in_flight_;
  state.limiter.start(now_s, predicted_tokens);
  all_.start(now_s, predicted_tokens);
}

void Pool::congested(State& state, double now_s) const {
  // One signal a round: what was in flight together tells the same thing.
  if (now_s - state.last_decrease_s < state.round_s) return;
  state.last_decrease_s = now_s;
  state.window = std::max(1.0, state.window * kDecrease);
  state.threshold = state.window;
}

void Pool::finish(std::size_t endpoint, double now_s, double predicted_tokens, double actual_tokens, double answer_s,
                  const Verdict& verdict, const ToldLimits& told) {
  State& state = states_[endpoint];
  state.round_s += kRoundShare * (answer_s - state.round_s);
  --state.in_flight;
  --in_flight_;
  state.limiter.finish(now_s, predicted_tokens, actual_tokens);
  all_.finish(now_s, predicted_tokens, actual_tokens);
  state.limiter.told(now_s, told);
  if (verdict.kind == Verdict::Kind::kAnswered || verdict.kind == Verdict::Kind::kGiveUp) {
    state.failures_in_a_row = 0;
    // A window that isn't filled says nothing about what it could carry.
    if (now_s - state.last_full_s > 2 * state.round_s) return;
    const double grown = state.window < state.threshold ? state.window + 1 : state.window + 1 / state.window;
    state.window = std::min(grown, static_cast<double>(options_.concurrency));
    return;
  }
  if (verdict.congested) congested(state, now_s);
  // A limit isn't a failure: the service says when to come again.
  if (verdict.congested && told.retry_after_s) {
    state.limiter.block_until(now_s + std::min(*told.retry_after_s, 120.0));
    return;
  }
  ++state.failures_in_a_row;
  if (state.failures_in_a_row >= 3) {
    state.resting_until_s =
        now_s + std::min(kLongestRest_s, doubled(0.25, state.failures_in_a_row - 3)) * (0.5 + 0.5 * random_.uniform());
  }
}

double Pool::backoff_s(int failures, const ToldLimits& told) {
  const double bound = std::min(kLongestBackoff_s, doubled(kFirstBackoff_s, failures - 1));
  const double asked = told.retry_after_s.value_or(0);
  return asked + (asked > 0 ? 0.1 * bound * random_.uniform() : bound * random_.uniform());
}

}  // namespace retort::provider
