// What an answer's headers say about limits: OpenAI's and Anthropic's names, and what clients of both obey.
//
// Pure; any thread. Sources: OpenAI's API reference ("Rate limits": resets are durations such as "6m0s"), Anthropic's
// ("Rate limits": resets are RFC 3339), RFC 9110 section 10.2.3 (Retry-After), and the official clients' handling of
// retry-after-ms and x-should-retry.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "net/http.h"

namespace retort::provider {

struct ToldLimit {
  std::optional<double> limit;      // in a minute
  std::optional<double> remaining;  // now
  std::optional<double> reset_s;    // until it is whole again
};

struct ToldLimits {
  ToldLimit requests;
  ToldLimit tokens;
  std::optional<double> retry_after_s;
  std::optional<bool> should_retry;
};

// `unix_ms` is now: resets and dates are told as times of day.
ToldLimits told_limits(const net::Headers& headers, std::int64_t unix_ms);

// "12ms", "6m0s", "1h2m3.5s", "20" (seconds). Nothing: not a duration.
std::optional<double> duration_s(std::string_view text);
// Milliseconds since 1970 of an RFC 3339 time, or of an HTTP date.
std::optional<std::int64_t> time_ms(std::string_view text);

}  // namespace retort::provider
