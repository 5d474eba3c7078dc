// An exact share of a hundred: a decimal with up to 12 places, kept as a whole number of 10^-12 percent.
//
// No floating point anywhere: whether 33.333 + 16.667 reaches 50 is a question of law. A plain value, ordered.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace retort::callers {

class Percent {
 public:
  static constexpr int kDecimals = 12;

  constexpr Percent() = default;
  static constexpr Percent whole(std::int64_t percent) { return Percent(percent * kOne); }
  // "50", "50.0", "33.333". Error: a sign, an exponent, more than 12 decimals, more than 100, anything else.
  static Result<Percent> parse(std::string_view text);

  // As short as it can be, with at least one decimal: "50.0".
  std::string text() const;

  auto operator<=>(const Percent&) const = default;
  // Sums of up to 92,000 hundreds fit.
  constexpr Percent operator+(Percent other) const { return Percent(units_ + other.units_); }
  constexpr Percent& operator+=(Percent other) { return *this = *this + other; }

 private:
  static constexpr std::int64_t kOne = 1'000'000'000'000;
  explicit constexpr Percent(std::int64_t units) : units_(units) {}
  std::int64_t units_ = 0;
};

}  // namespace retort::callers
