// Amounts of money as whole numbers: what is reserved and settled must add up exactly.
#pragma once

#include <cmath>
#include <cstdint>

namespace retort::policy {

// A thousandth of a millionth of a US dollar; what a token costs at a thousandth of a dollar a million tokens.
using NanoUsd = std::int64_t;
constexpr double kNanoUsd = 1e9;

// Rounded up: money that may be spent is never said to be less.
inline NanoUsd nano_usd(double usd) { return static_cast<NanoUsd>(std::ceil(usd * kNanoUsd - 1e-6)); }
inline double usd(NanoUsd amount) { return static_cast<double>(amount) / kNanoUsd; }

// What a token costs, of a price in US dollars for a million of them.
inline NanoUsd token_price(double usd_per_mtok) { return nano_usd(usd_per_mtok / 1e6); }

}  // namespace retort::policy
