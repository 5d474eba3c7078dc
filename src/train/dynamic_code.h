// Eight bits a value, precise over seven orders of magnitude: dynamic quantisation of blocks.
//
// After Dettmers et al. (arXiv 2110.02861, sections 2.1 and 2.2): a block of values is divided by its largest
// magnitude, its scale; the number of leading zeros of a code says the power of ten, the bits behind the first one
// divide that decade evenly. With b bits of magnitude (7 beside a sign, else 8), z leading zeros and the f = b - 1 - z
// last bits reading k, the value is 10^-z (0.1 + 0.9 (k + 1) / 2^f), so that the largest code is exactly 1; code 0 is
// 0. Greater codes are greater values. A value gets the nearest code, at most 0.45 * 10^-z / 2^f away within its
// decade: of values above a tenth of the scale at most 0.71 % of the scale with a sign, 0.36 % without.
//
// Blocks of 256 values: 1.6 % of the codes' memory goes to scales, and an outlier spoils no more than its block. The
// paper takes 2048 for the sake of a GPU's threads; smaller blocks are only more exact.
//
// Tables are constant and made at the first use; any thread.
#pragma once

#include <cstddef>
#include <cstdint>

namespace retort::train {

inline constexpr std::int64_t kCodeBlock = 256;

struct DynamicCode {
  static constexpr std::size_t kStepBits = 7;  // steps an octave, finer than the gaps between borders
  static constexpr std::size_t kOctaves = 26;  // below 1 that are told apart
  float value[256];                            // of each code; with a sign, codes from 128 are negative
  float border[256];                           // between magnitude code c and c + 1: half-way
  std::uint8_t first[(kOctaves << kStepBits) +
                     1];  // the least code for a magnitude in each step; the right one is it or the next
  bool has_sign;
  // 1 without a sign: a value that isn't zero gets no code of zero, because a step is divided by its root.
  std::uint8_t least;
};

const DynamicCode& signed_code();    // for the first moment
const DynamicCode& unsigned_code();  // for the second

}  // namespace retort::train
