// Time, passed in so that a test can own it.
#pragma once

#include <cstdint>
#include <string>

namespace retort {

class Clock {
 public:
  virtual ~Clock() = default;
  // Seconds since an arbitrary start; never goes back.
  virtual double monotonic_s() const = 0;
  // Milliseconds since 1970-01-01T00:00:00Z.
  virtual std::int64_t unix_ms() const = 0;
};

// The machine's own clock. Any thread.
class SystemClock final : public Clock {
 public:
  double monotonic_s() const override;
  std::int64_t unix_ms() const override;
};

// A clock that stands still until it is moved. One thread.
class ManualClock final : public Clock {
 public:
  double monotonic_s() const override { return now_s_; }
  std::int64_t unix_ms() const override { return static_cast<std::int64_t>(now_s_ * 1000.0); }
  void advance_s(double seconds) { now_s_ += seconds; }

 private:
  double now_s_ = 0;
};

// "2026-11-22T04:37:47Z".
std::string iso_time(std::int64_t unix_ms);

}  // namespace retort
