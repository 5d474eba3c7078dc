// Axes: from values to places on the page, and round numbers to write beside them; private to report. Pure.
#pragma once

#include <string>
#include <vector>

namespace retort::report {

struct Tick {
  double value = 0;
  std::string label;
};

// A linear or logarithmic axis whose ends are round. Logarithmic needs low > 0.
class Scale {
 public:
  // At least two ticks, about `wanted`. A range of nothing is widened. `from_zero`: a linear axis begins at 0.
  static Scale fit(double low, double high, bool logarithmic, bool from_zero, int wanted);
  // As fit(), but the axis ends where the values end, and ticks stand only between.
  static Scale fit_tightly(double low, double high, bool logarithmic, int wanted);
  // 0 at the low end, 1 at the high end.
  double share(double value) const;
  const std::vector<Tick>& ticks() const { return ticks_; }
  double low() const { return low_; }
  double high() const { return high_; }

 private:
  double low_ = 0;
  double high_ = 1;
  bool logarithmic_ = false;
  std::vector<Tick> ticks_;
};

}  // namespace retort::report
