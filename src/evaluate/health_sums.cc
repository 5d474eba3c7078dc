#include "evaluate/health_sums.h"

#include <algorithm>
#include <cmath>

namespace retort::evaluate {

std::size_t position_part(std::size_t index) {
  if (index < 4) return 0;
  if (index < 16) return 1;
  return index < 64 ? 2 : 3;
}

void HealthSums::add(const TokenComparison& token, std::size_t index, bool ended) {
  tokens += 1;
  teacher_entropy += static_cast<double>(token.teacher_entropy);
  model_entropy += static_cast<double>(token.model_entropy);
  agreed += token.teacher_top == token.model_top ? 1 : 0;
  negative_log_probability += token.negative_log_probability;
  const auto confidence = static_cast<double>(token.model_top_probability);
  Bin& bin = calibration[std::min(static_cast<std::size_t>(confidence * kCalibrationBins), kCalibrationBins - 1)];
  bin.tokens += 1;
  bin.confidence += confidence;
  bin.teacher += static_cast<double>(token.teacher_of_model_top);
  Ends& ends = ended ? at_end : elsewhere;
  ends.tokens += 1;
  ends.teacher += static_cast<double>(token.teacher_end);
  ends.model += static_cast<double>(token.model_end);
  Position& position = positions[position_part(index)];
  position.tokens += 1;
  position.kl_nats += token.kl_nats;
}

double HealthSums::calibration_error() const {
  double total = 0, off = 0;
  for (const Bin& bin : calibration) {
    off += std::abs(bin.confidence - bin.teacher);
    total += bin.tokens;
  }
  return total > 0 ? off / total : 0;
}

}  // namespace retort::evaluate
