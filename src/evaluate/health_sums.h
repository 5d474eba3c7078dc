// The sums over compared tokens that the student's health is made of: one way of binning, for evaluation and for the
// measurements of training.
//
// Every member is a double, so that sums of parts can be added as numbers (flat()), by chunks or by ranks. A value; any
// thread.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "evaluate/compare.h"

namespace retort::evaluate {

// Parts of an answer, each four times as long as the one before.
inline constexpr std::size_t kPositionParts = 4;
inline constexpr std::array<std::string_view, kPositionParts> kPositionNames = {"tokens 1 to 4", "tokens 5 to 16",
                                                                                "tokens 17 to 64", "later tokens"};
// The part of the token at `index` (from 0) of its answer.
std::size_t position_part(std::size_t index);

inline constexpr std::size_t kCalibrationBins = 10;

struct HealthSums {
  struct Bin {  // of places by the model's sureness of its likeliest token
    double tokens = 0, confidence = 0, teacher = 0;
  };
  struct Ends {  // probability of ending
    double tokens = 0, teacher = 0, model = 0;
  };
  struct Position {
    double tokens = 0, kl_nats = 0;
  };
  double tokens = 0;
  double teacher_entropy = 0, model_entropy = 0;  // nats
  double agreed = 0;                              // likeliest tokens the same
  double negative_log_probability = 0;            // of the token that stands there, for the model
  std::array<Bin, kCalibrationBins> calibration;
  Ends at_end, elsewhere;
  std::array<Position, kPositionParts> positions;

  // `index`: of the token in its answer, from 0; `ended`: it ends the answer.
  void add(const TokenComparison& token, std::size_t index, bool ended);
  // Token-weighted mean of |confidence - teacher| over the bins; 0 without tokens.
  double calibration_error() const;

  static constexpr std::size_t kNumbers = 5 + 3 * kCalibrationBins + 6 + 2 * kPositionParts;
  using Flat = std::array<double, kNumbers>;
  Flat flat() const { return std::bit_cast<Flat>(*this); }
  static HealthSums from_flat(const Flat& numbers) { return std::bit_cast<HealthSums>(numbers); }
};

}  // namespace retort::evaluate
