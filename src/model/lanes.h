// Sixteen floats at a time, in the compiler's own vector types: what the hand-written kernels are made of.
//
// For sources that are compiled once for every instruction set (model/instruction_set.h). Everything is in an anonymous
// namespace and always inlined, and no inline function of the standard library is used: one compiled for AVX-512 could
// be the one that the linker keeps for everybody. Sums run in 16 lanes whatever the machine's vectors are, so that
// results differ between instruction sets only by fused rounding.
#pragma once

#include <cstddef>
#include <cstdint>
#ifdef __AVX512BW__
#include <immintrin.h>
#endif

#define RETORT_INLINE inline __attribute__((always_inline))

namespace retort::lanes {
namespace {

constexpr std::size_t kLanes = 16;
using Floats = float __attribute__((vector_size(64)));
using Words = std::uint32_t __attribute__((vector_size(64)));
using Halves = std::uint16_t __attribute__((vector_size(32)));

RETORT_INLINE Floats all(float value) { return Floats{} + value; }

RETORT_INLINE Floats load(const float* p) {
  Floats value;
  __builtin_memcpy(&value, p, sizeof(value));
  return value;
}

// GCC 12 makes several instructions of either conversion where AVX-512 has one. (Unmasked, it takes them for reading
// what is undefined.)
RETORT_INLINE Words widened(const Halves& halves) {
#ifdef __AVX512BW__
  return __builtin_bit_cast(Words, _mm512_maskz_cvtepu16_epi32(0xFFFF, __builtin_bit_cast(__m256i, halves)));
#else
  return __builtin_convertvector(halves, Words);
#endif
}

// Of each word the lower half.
RETORT_INLINE Halves narrowed(const Words& words) {
#ifdef __AVX512BW__
  return __builtin_bit_cast(Halves, _mm512_maskz_cvtepi32_epi16(0xFFFF, __builtin_bit_cast(__m512i, words)));
#else
  return __builtin_convertvector(words, Halves);
#endif
}

// BF16: the upper half of an IEEE float.
RETORT_INLINE Floats load(const std::uint16_t* p) {
  Halves halves;
  __builtin_memcpy(&halves, p, sizeof(halves));
  const Words words = widened(halves) << 16;
  Floats value;
  __builtin_memcpy(&value, &words, sizeof(value));
  return value;
}

RETORT_INLINE void store(float* p, const Floats& value) { __builtin_memcpy(p, &value, sizeof(value)); }

// Rounds to nearest, ties to even. NaN keeps being NaN unless its payload is only in the lower half.
RETORT_INLINE void store(std::uint16_t* p, const Floats& value) {
  Words words;
  __builtin_memcpy(&words, &value, sizeof(words));
  words = (words + 0x7FFFU + ((words >> 16) & 1U)) >> 16;
  const Halves halves = narrowed(words);
  __builtin_memcpy(p, &halves, sizeof(halves));
}

RETORT_INLINE float widen(float value) { return value; }
RETORT_INLINE float widen(std::uint16_t value) {
  const std::uint32_t word = static_cast<std::uint32_t>(value) << 16;
  float result;
  __builtin_memcpy(&result, &word, sizeof(result));
  return result;
}

// The last, incomplete group, filled up with `filling`.
template <class T>
RETORT_INLINE Floats load_tail(const T* p, std::size_t count, float filling) {
  float values[kLanes];
  for (std::size_t i = 0; i < kLanes; ++i) values[i] = i < count ? widen(p[i]) : filling;
  return load(values);
}

template <class T>
RETORT_INLINE void store_tail(T* p, const Floats& value, std::size_t count) {
  T values[kLanes];
  store(values, value);
  for (std::size_t i = 0; i < count; ++i) p[i] = values[i];
}

RETORT_INLINE Floats larger(const Floats& a, const Floats& b) { return a > b ? a : b; }

RETORT_INLINE float largest(const Floats& value) {
  float result = value[0];
  for (std::size_t i = 1; i < kLanes; ++i) result = value[i] > result ? value[i] : result;
  return result;
}

RETORT_INLINE double total(const Floats& value) {
  double result = 0;
  for (std::size_t i = 0; i < kLanes; ++i) result += static_cast<double>(value[i]);
  return result;
}

// exp(x) for |x| <= 87, as 2^n exp(r): x = n ln 2 + r, |r| <= ln 2 / 2.
struct ExpParts {
  Floats r;
  Words n;  // its low nine bits are n modulo 512
};
RETORT_INLINE ExpParts exp_parts(const Floats& x) {
  const Floats shifted = x * 1.44269504F + 12582912.0F;  // 1.5 * 2^23: the integer part lands in the low bits
  ExpParts parts;
  __builtin_memcpy(&parts.n, &shifted, sizeof(parts.n));
  const Floats n = shifted - 12582912.0F;
  parts.r = (x - n * 0.693145752F) - n * 1.42860677e-6F;
  return parts;
}

// value * 2^n
RETORT_INLINE Floats times_power(const Floats& value, const Words& n) {
  Words bits;
  __builtin_memcpy(&bits, &value, sizeof(bits));
  bits += n << 23;
  Floats result;
  __builtin_memcpy(&result, &bits, sizeof(result));
  return result;
}

// The Taylor series of exp(r) up to r^5, and r^6 times `rest`.
RETORT_INLINE Floats exp_series(const Floats& r, const Floats& rest) {
  Floats y = rest * r + (1.0F / 120.0F);
  y = y * r + (1.0F / 24.0F);
  y = y * r + (1.0F / 6.0F);
  y = y * r + 0.5F;
  y = y * r + 1.0F;
  return y * r + 1.0F;
}

// exp(x) for x <= 0, by the series to the sixth power (relative error below 2e-7). Below -87 the result stays at about
// 1e-38; NaN stays NaN.
RETORT_INLINE Floats exp_of_negative(const Floats& argument) {
  const ExpParts parts = exp_parts(larger(all(-87.0F), argument));  // in this order a NaN is kept
  return times_power(exp_series(parts.r, all(1.0F / 720.0F)), parts.n);
}

// log(x) for normal x > 0: x = 2^n m with m from 1/sqrt(2) to sqrt(2), and log m = 2 atanh(f), f = (m - 1) / (m + 1),
// by its Taylor series to the ninth power (relative error below 2e-7). Exactly 0 at 1.
RETORT_INLINE Floats log_of_positive(const Floats& x) {
  Words bits;
  __builtin_memcpy(&bits, &x, sizeof(bits));
  // Moved by the bits of 1/sqrt(2), so that the exponent changes there and not at 1.
  const Words moved = bits - 0x3F3504F3U;
  const Words exponent = (moved >> 23) ^ 0x100U;  // n + 256, for n from -256 to 255
  bits = (moved & 0x007FFFFFU) + 0x3F3504F3U;
  Floats m;
  __builtin_memcpy(&m, &bits, sizeof(bits));
  // n as a float without a conversion: the mantissa of 2^23 holds a whole number.
  const Words whole = exponent + 0x4B000000U;
  Floats n;
  __builtin_memcpy(&n, &whole, sizeof(whole));
  n = n - (8388608.0F + 256.0F);
  const Floats f = (m - 1.0F) / (m + 1.0F);
  const Floats f2 = f * f;
  Floats y = f2 * (2.0F / 9.0F) + (2.0F / 7.0F);
  y = y * f2 + (2.0F / 5.0F);
  y = y * f2 + (2.0F / 3.0F);
  y = y * f2 + 2.0F;
  return n * 0.693145752F + (y * f + n * 1.42860677e-6F);
}

}  // namespace
}  // namespace retort::lanes
