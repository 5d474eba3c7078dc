#include "provider/limit_headers.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ctime>
#include <string>

#include "base/text.h"

namespace retort::provider {
namespace {

std::optional<double> number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value) || value < 0) {
    return std::nullopt;
  }
  return value;
}

std::optional<double> number_of(const net::Headers& headers, std::string_view name) {
  const auto text = headers.find(name);
  return text ? number(trim(*text)) : std::nullopt;
}

// Seconds from now to a time of day, or a duration.
std::optional<double> until_s(std::string_view text, std::int64_t unix_ms) {
  if (const auto seconds = duration_s(text)) return seconds;
  if (const auto at = time_ms(text)) return std::max(0.0, static_cast<double>(*at - unix_ms) / 1000);
  return std::nullopt;
}

ToldLimit told(const net::Headers& headers, const std::string& before, const std::string& after, std::int64_t unix_ms) {
  ToldLimit limit;
  limit.limit = number_of(headers, before + "limit" + after);
  limit.remaining = number_of(headers, before + "remaining" + after);
  if (const auto reset = headers.find(before + "reset" + after)) limit.reset_s = until_s(trim(*reset), unix_ms);
  return limit;
}

bool says_anything(const ToldLimit& limit) { return limit.limit || limit.remaining || limit.reset_s; }

// Anthropic: anthropic-ratelimit-tokens-remaining.
ToldLimit anthropic(const net::Headers& headers, const std::string& what, std::int64_t unix_ms) {
  const std::string name = "anthropic-ratelimit-" + what + "-";
  return told(headers, name, "", unix_ms);
}

}  // namespace

std::optional<double> duration_s(std::string_view text) {
  if (text.empty()) return std::nullopt;
  if (const auto seconds = number(text)) return seconds;
  double total = 0;
  while (!text.empty()) {
    const std::size_t digits = text.find_first_not_of("0123456789.");
    if (digits == 0 || digits == std::string_view::npos) return std::nullopt;
    const auto value = number(text.substr(0, digits));
    if (!value) return std::nullopt;
    text.remove_prefix(digits);
    const std::size_t letters = std::min(text.find_first_of("0123456789."), text.size());
    const std::string_view unit = text.substr(0, letters);
    text.remove_prefix(letters);
    if (unit == "ms") {
      total += *value / 1000;
    } else if (unit == "s") {
      total += *value;
    } else if (unit == "m") {
      total += *value * 60;
    } else if (unit == "h") {
      total += *value * 3600;
    } else if (unit == "d") {
      total += *value * 86400;
    } else {
      return std::nullopt;
    }
  }
  return total;
}

std::optional<std::int64_t> time_ms(std::string_view text) {
  const std::string whole(text);
  std::tm parts{};
  const char* rest = strptime(whole.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::int64_t offset_s = 0;
  if (rest != nullptr) {
    while (*rest == '.' || (*rest >= '0' && *rest <= '9')) ++rest;  // fractions of a second
    if (*rest == '+' || *rest == '-') {
      int hours = 0;
      int minutes = 0;
      if (std::sscanf(rest + 1, "%2d:%2d", &hours, &minutes) != 2) return std::nullopt;
      offset_s = (hours * 3600 + minutes * 60) * (*rest == '-' ? -1 : 1);
    } else if (*rest != 'Z' && *rest != 'z') {
      return std::nullopt;
    }
  } else {
    rest = strptime(whole.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    if (rest == nullptr) return std::nullopt;
  }
  return (static_cast<std::int64_t>(timegm(&parts)) - offset_s) * 1000;
}

ToldLimits told_limits(const net::Headers& headers, std::int64_t unix_ms) {
  ToldLimits limits;
  limits.requests = told(headers, "x-ratelimit-", "-requests", unix_ms);
  limits.tokens = told(headers, "x-ratelimit-", "-tokens", unix_ms);
  if (!says_anything(limits.requests)) limits.requests = anthropic(headers, "requests", unix_ms);
  if (!says_anything(limits.tokens)) limits.tokens = anthropic(headers, "tokens", unix_ms);
  if (const auto ms = number_of(headers, "retry-after-ms")) {
    limits.retry_after_s = *ms / 1000;
  } else if (const auto after = headers.find("retry-after")) {
    limits.retry_after_s = until_s(trim(*after), unix_ms);
  }
  if (const auto word = headers.find("x-should-retry")) {
    const std::string said = to_lower_ascii(trim(*word));
    if (said == "true" || said == "false") limits.should_retry = said == "true";
  }
  return limits;
}

}  // namespace retort::provider
