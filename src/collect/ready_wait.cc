#include "collect/ready_wait.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "base/text.h"
#include "provider/account.h"
#include "provider/dialect.h"
#include "provider/limit_headers.h"

namespace retort::collect {
namespace {

constexpr double kFirstPause_s = 1;
constexpr double kGrowth = 1.5;
constexpr double kLongestPause_s = 15;
constexpr double kLook_s = 0.2;  // never longer without looking at the user's wish to stop

// In a word or two; empty: it is ready, or fails in another way.
std::string not_ready(const net::HttpOutcome& outcome, const provider::ToldLimits& told, bool free) {
  switch (outcome.trouble) {
    case net::Trouble::kNone: break;
    case net::Trouble::kConnect: return outcome.nobody_listens ? "no connection" : "";
    case net::Trouble::kCut: return free ? "cut off" : "";
    default: return "";
  }
  if (told.should_retry == false) return "";
  const int status = outcome.status;
  return status == 502 || status == 503 || status == 504 ? std::to_string(status) : "";
}

std::string in_minutes(double seconds) {
  return seconds < 90 ? human_seconds(seconds) : std::to_string(std::lround(seconds / 60)) + " minutes";
}

}  // namespace

Failure ReadyWait::stopped() {
  gave_up_ = true;
  return interrupted("Stopped before the teacher was ready. The same command goes on.");
}

Result<net::HttpOutcome> ReadyWait::perform(net::HttpCall call) {
  transport_.start(0, std::move(call));
  while (true) {
    std::vector<net::FinishedCall> finished = transport_.wait(kLook_s);
    if (!finished.empty()) return std::move(finished.front().outcome);
    if (stop_.stop_requested()) {
      transport_.abandon();
      return stopped();
    }
  }
}

Result<void> ReadyWait::pause(double seconds) {
  const double until_s = clock_.monotonic_s() + seconds;
  while (true) {
    if (stop_.stop_requested()) return stopped();
    const double left_s = until_s - clock_.monotonic_s();
    if (left_s <= 0) return {};
    static_cast<void>(transport_.wait(std::min(left_s, kLook_s)));
  }
}

Result<bool> ReadyWait::again(const std::string& url, const net::HttpOutcome& outcome, bool free) {
  const provider::ToldLimits told = provider::told_limits(outcome.headers, clock_.unix_ms());
  const std::string reason = provider::is_own_url(url) ? not_ready(outcome, told, free) : std::string();
  const double now_s = clock_.monotonic_s();
  if (reason.empty()) {
    if (waiting_for_ == url && outcome.trouble == net::Trouble::kNone) {
      progress_.note(url + " answers after " + in_minutes(now_s - *since_s_) + ".");
    }
    if (waiting_for_ == url) waiting_for_.clear();
    return false;
  }
  if (most_s_ <= 0) return false;
  if (!since_s_) since_s_ = now_s;
  const double left_s = *since_s_ + most_s_ - now_s;
  if (left_s <= 0) {
    gave_up_ = true;
    const std::string words =
        outcome.trouble == net::Trouble::kNone ? provider::api_error(outcome.body).message : outcome.trouble_text;
    return world_error(url + " was not ready within " + in_minutes(most_s_) + " (collect.ready_s), last: " + reason +
                       (words.empty() || !is_valid_utf8(words) ? "." : " (" + words.substr(0, 200) + ").") +
                       " Look whether the server is still loading or has ended, and whether the address is right. The "
                       "same command tries again.");
  }
  if (waiting_for_ != url || reason_ != reason) {
    progress_.note(url + " is not ready yet (" + reason + "); waiting, up to " + in_minutes(left_s) + ".");
    pause_s_ = kFirstPause_s;
  }
  waiting_for_ = url;
  reason_ = reason;
  // Several collections that wait for one server shall not all come at once.
  const double own_s = pause_s_ * (0.75 + 0.5 * random_.uniform());
  pause_s_ = std::min(kLongestPause_s, pause_s_ * kGrowth);
  RETORT_TRY(pause(std::min(std::max(own_s, told.retry_after_s.value_or(0)), left_s)));
  return true;
}

}  // namespace retort::collect
