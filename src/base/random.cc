#include "base/random.h"

#include <bit>
#include <cmath>
#include <numbers>
#include <string>

#include "base/digest.h"
#include "base/error.h"

namespace retort {

namespace {

std::uint64_t split_mix(std::uint64_t& state) {
  state += 0x9E3779B97F4A7C15ULL;
  std::uint64_t z = state;
  z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27U)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31U);
}

}  // namespace

Random::Random(std::uint64_t seed) : state_{} {
  for (std::uint64_t& word : state_) word = split_mix(seed);
}

std::uint64_t Random::next() {
  const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const std::uint64_t shifted = state_[1] << 17U;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

double Random::uniform() { return static_cast<double>(next() >> 11U) * 0x1.0p-53; }

std::uint64_t Random::below(std::uint64_t bound) {
  RETORT_CHECK(bound > 0);
  const std::uint64_t limit = -bound % bound;  // 2^64 mod bound: values under it would be drawn once too often
  while (true) {
    const std::uint64_t value = next();
    if (value >= limit) return value % bound;
  }
}

double Random::normal() {
  const double radius = std::sqrt(-2.0 * std::log1p(-uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

std::uint64_t derive_seed(std::uint64_t seed, std::string_view stream, std::uint64_t index) {
  const std::string name = std::to_string(seed) + "/" + std::string(stream) + "/" + std::to_string(index);
  const Digest digest = sha256(name);
  std::uint64_t derived = 0;
  for (std::size_t i = 0; i < 8; ++i) derived = (derived << 8U) | digest.bytes[i];
  return derived;
}

}  // namespace retort
