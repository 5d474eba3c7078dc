#include "report/scale.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <utility>

#include "base/text.h"

namespace retort::report {

namespace {

// The step 1, 2 or 5 times a power of ten that comes nearest above span / wanted.
double round_step(double span, int wanted) {
  const double raw = span / std::max(1, wanted);
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= raw * 0.999) return factor * power;
  }
  return 10 * power;
}

std::string tick_label(double value, double step) {
  const double size = std::abs(value);
  std::array<char, 64> buffer{};
  if (size >= 1e6) {
    std::snprintf(buffer.data(), buffer.size(), "%gM", value / 1e6);
    return buffer.data();
  }
  if (size >= 1e4 && step >= 1000) {
    std::snprintf(buffer.data(), buffer.size(), "%gk", value / 1000);
    return buffer.data();
  }
  if (step >= 1) return human_count(std::llround(value));
  if (step < 1e-4) {
    std::snprintf(buffer.data(), buffer.size(), "%.0e", value);
    return value == 0 ? "0" : buffer.data();
  }
  const int decimals = std::max(0, static_cast<int>(std::ceil(-std::log10(step) - 1e-9)));
  std::snprintf(buffer.data(), buffer.size(), "%.*f", decimals, value);
  return buffer.data();
}

}  // namespace

Scale Scale::fit(double low, double high, bool logarithmic, bool from_zero, int wanted) {
  Scale scale;
  scale.logarithmic_ = logarithmic && low > 0 && high > 0;
  if (scale.logarithmic_) {
    if (high < low * 1.0001) high = low * 10;
    const auto first = static_cast<int>(std::floor(std::log10(low) + 1e-12));
    const auto last = static_cast<int>(std::ceil(std::log10(high) - 1e-12));
    // 1, 2, 5 over few decades, else decades alone.
    const bool fine = last - first <= 3;
    std::vector<double> values;
    for (int decade = first; decade <= last; ++decade) {
      for (const double factor : {1.0, 2.0, 5.0}) {
        if (factor != 1.0 && (!fine || decade == last)) continue;
        values.push_back(factor * std::pow(10.0, decade));
      }
    }
    // The round numbers that enclose the range.
    std::size_t begin = 0;
    while (begin + 1 < values.size() && values[begin + 1] <= low * 1.0001) ++begin;
    std::size_t end = values.size();
    while (end > begin + 2 && values[end - 2] >= high * 0.9999) --end;
    for (std::size_t i = begin; i < end; ++i) scale.ticks_.push_back({values[i], tick_label(values[i], values[i])});
    scale.low_ = values[begin];
    scale.high_ = values[end - 1];
    return scale;
  }
  if (from_zero) {
    low = std::min(low, 0.0);
    high = std::max(high, 0.0);
  }
  if (high - low < 1e-12 * std::max(1.0, std::abs(high))) {
    high = low + (low == 0 ? 1.0 : std::abs(low) * 0.1);
  }
  const double step = round_step(high - low, wanted);
  const auto first = static_cast<std::int64_t>(std::floor(low / step + 1e-9));
  const auto last = static_cast<std::int64_t>(std::ceil(high / step - 1e-9));
  for (std::int64_t i = first; i <= last; ++i) {
    const double value = static_cast<double>(i) * step;
    scale.ticks_.push_back({value, tick_label(value, step)});
  }
  scale.low_ = static_cast<double>(first) * step;
  scale.high_ = static_cast<double>(last) * step;
  return scale;
}

Scale Scale::fit_tightly(double low, double high, bool logarithmic, int wanted) {
  Scale scale = fit(low, high, logarithmic, false, wanted);
  if (!(high > low) || (logarithmic && low <= 0)) return scale;
  const double slack = 1e-9 * (high - low);
  std::vector<Tick> inside;
  for (const Tick& tick : scale.ticks_) {
    if (tick.value >= low - slack && tick.value <= high + slack) inside.push_back(tick);
  }
  if (inside.size() < 2) return scale;
  scale.ticks_ = std::move(inside);
  scale.low_ = low;
  scale.high_ = high;
  return scale;
}

double Scale::share(double value) const {
  if (logarithmic_) {
    if (value <= 0) return 0;
    return std::log(value / low_) / std::log(high_ / low_);
  }
  return (value - low_) / (high_ - low_);
}

}  // namespace retort::report
