#include "callers/percent.h"

#include <algorithm>

namespace retort::callers {

Result<Percent> Percent::parse(std::string_view text) {
  const auto refuse = [&](const std::string& why) {
    return caller_error("'" + std::string(text) + "' is no percentage: " + why +
                        ". Expected a plain decimal from 0 to 100 such as 50.0 or 33.333.");
  };
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  const std::size_t point = text.find('.');
  const std::string_view before = text.substr(0, point);
  const std::string_view after = point == std::string_view::npos ? std::string_view() : text.substr(point + 1);
  if (before.empty() || !std::all_of(before.begin(), before.end(), is_digit) ||
      !std::all_of(after.begin(), after.end(), is_digit) || (point != std::string_view::npos && after.empty())) {
    return refuse("it isn't a decimal number without sign and exponent");
  }
  if (after.size() > kDecimals) return refuse("it has more than 12 decimals");
  if (before.size() > 3) return refuse("it is more than 100");
  std::int64_t units = 0;
  for (const char c : before) units = units * 10 + (c - '0');
  for (int i = 0; i < kDecimals; ++i) {
    const auto place = static_cast<std::size_t>(i);
    units = units * 10 + (place < after.size() ? after[place] - '0' : 0);
  }
  if (units > 100 * kOne) return refuse("it is more than 100");
  return Percent(units);
}

std::string Percent::text() const {
  std::string decimals = std::to_string(units_ % kOne);
  decimals.insert(0, static_cast<std::size_t>(kDecimals) - decimals.size(), '0');
  while (decimals.size() > 1 && decimals.back() == '0') decimals.pop_back();
  return std::to_string(units_ / kOne) + "." + decimals;
}

}  // namespace retort::callers
