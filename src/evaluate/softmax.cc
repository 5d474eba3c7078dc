#include "evaluate/softmax.h"

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/error.h"

// This file is compiled with -ffp-contract=off: multiply-adds are never fused behind our back, so every instruction set
// gives the same bits.

namespace retort::evaluate {

namespace {

constexpr std::size_t kLanes = 8;

// Eight lanes are held as registers of W doubles each, W being what the target has (GCC and Clang vector extension).
template <int W>
struct Vectors;
template <>
struct Vectors<2> {
  typedef double Doubles __attribute__((vector_size(16)));
  typedef std::int64_t Ints __attribute__((vector_size(16)));
  typedef float Floats __attribute__((vector_size(8)));
};
template <>
struct Vectors<4> {
  typedef double Doubles __attribute__((vector_size(32)));
  typedef std::int64_t Ints __attribute__((vector_size(32)));
  typedef float Floats __attribute__((vector_size(16)));
};
template <>
struct Vectors<8> {
  typedef double Doubles __attribute__((vector_size(64)));
  typedef std::int64_t Ints __attribute__((vector_size(64)));
  typedef float Floats __attribute__((vector_size(32)));
};
typedef float FloatLanes __attribute__((vector_size(kLanes * sizeof(float))));

constexpr double kLowest = -708.0;
constexpr double kLog2E = 1.4426950408889634074;
// ln 2 in two parts: the first has trailing zeros, so that n * kLn2High is exact for |n| < 2^11.
constexpr double kLn2High = 6.93147180369123816490e-01;
constexpr double kLn2Low = 1.90821492927058770002e-10;
// Adding 1.5 * 2^52 rounds to an integer that then stands in the low bits.
constexpr double kRoundShift = 6755399441055744.0;

// exp(r) on |r| <= ln(2)/2 by its Taylor series to r^13: the first term left out is below 5e-18.
template <class V>
[[gnu::always_inline]] inline V exp_core(V r) {
  V p = r * (1.0 / 6227020800.0) + (1.0 / 479001600.0);
  p = p * r + (1.0 / 39916800.0);
  p = p * r + (1.0 / 3628800.0);
  p = p * r + (1.0 / 362880.0);
  p = p * r + (1.0 / 40320.0);
  p = p * r + (1.0 / 5040.0);
  p = p * r + (1.0 / 720.0);
  p = p * r + (1.0 / 120.0);
  p = p * r + (1.0 / 24.0);
  p = p * r + (1.0 / 6.0);
  p = p * r + 0.5;
  // 1 + r + r^2 p: the largest terms are added last.
  return (p * r * r + r) + 1.0;
}

template <int W>
[[gnu::always_inline]] inline typename Vectors<W>::Doubles exp_vector(typename Vectors<W>::Doubles x) {
  using Doubles = typename Vectors<W>::Doubles;
  const Doubles lowest = Doubles{} + kLowest;
  x = x < lowest ? lowest : x;
  const Doubles shifted = x * kLog2E + kRoundShift;
  const Doubles n = shifted - kRoundShift;
  const Doubles r = (x - n * kLn2High) - n * kLn2Low;
  const Doubles p = exp_core(r);
  // p is in [0.7, 1.5) and n in [-1022, 0], so adding n to the exponent's bits stays normal.
  typename Vectors<W>::Ints bits;
  typename Vectors<W>::Ints exponent;
  std::memcpy(&bits, &p, sizeof(bits));
  std::memcpy(&exponent, &shifted, sizeof(exponent));
  bits += exponent << 52;
  Doubles result;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
}

template <int W>
[[gnu::always_inline]] inline typename Vectors<W>::Doubles load(const float* from) {
  typename Vectors<W>::Floats values;
  std::memcpy(&values, from, sizeof(values));
  return __builtin_convertvector(values, typename Vectors<W>::Doubles);
}

// Eight running sums; lane k holds the terms k, k + 8, k + 16, …, whatever W is.
template <int W>
struct Sums {
  typename Vectors<W>::Doubles part[kLanes / W] = {};
  [[gnu::always_inline]] double total() const {
    double v[kLanes];
    std::memcpy(v, part, sizeof(v));
    return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
  }
};

struct ExpSums {
  double sum = 0;       // of exp(x - m)
  double weighted = 0;  // of exp(x - m) * (x - m)
};

template <int W>
[[gnu::always_inline]] inline ExpSums exp_sums(const float* x, std::size_t size, double largest) {
  Sums<W> total;
  Sums<W> weighted;
  std::size_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (std::size_t part = 0; part < kLanes / W; ++part) {
      const auto shifted = load<W>(x + i + part * W) - largest;
      const auto e = exp_vector<W>(shifted);
      total.part[part] += e;
      weighted.part[part] += e * shifted;
    }
  }
  ExpSums sums{total.total(), weighted.total()};
  for (; i < size; ++i) {
    const double shifted = static_cast<double>(x[i]) - largest;
    const double e = exp_non_positive(shifted);
    sums.sum += e;
    sums.weighted += e * shifted;
  }
  return sums;
}

// sum_i exp(p_i - p_lse) ((p_i - p_lse) - (q_i - q_lse))
template <int W>
[[gnu::always_inline]] inline double kl_sum(const float* p, const float* q, std::size_t size, double p_lse,
                                            double q_lse) {
  Sums<W> total;
  std::size_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (std::size_t part = 0; part < kLanes / W; ++part) {
      const auto log_p = load<W>(p + i + part * W) - p_lse;
      const auto log_q = load<W>(q + i + part * W) - q_lse;
      total.part[part] += exp_vector<W>(log_p) * (log_p - log_q);
    }
  }
  double sum = total.total();
  for (; i < size; ++i) {
    const double log_p = static_cast<double>(p[i]) - p_lse;
    sum += exp_non_positive(log_p) * (log_p - (static_cast<double>(q[i]) - q_lse));
  }
  return sum;
}

struct Largest {
  float value = 0;
  bool finite = false;
};

// The largest of the row, and whether all are finite: x * 0 is 0 for finite x and NaN otherwise.
[[gnu::always_inline]] inline Largest largest_of(const float* x, std::size_t size) {
  FloatLanes best = FloatLanes{} + x[0];
  FloatLanes zero{};
  std::size_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    FloatLanes values;
    std::memcpy(&values, x + i, sizeof(values));
    best = values > best ? values : best;
    zero += values * 0.0F;
  }
  Largest result{x[0], true};
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    result.value = best[lane] > result.value ? best[lane] : result.value;
    result.finite = result.finite && zero[lane] == 0.0F;
  }
  for (; i < size; ++i) {
    result.value = x[i] > result.value ? x[i] : result.value;
    result.finite = result.finite && x[i] * 0.0F == 0.0F;
  }
  return result;
}

// One copy of each kernel per instruction set, chosen when the program runs.
#if defined(__x86_64__)
#define RETORT_KERNEL(attributes, suffix, width)                                                                    \
  attributes ExpSums exp_sums_##suffix(const float* x, std::size_t size, double largest) {                          \
    return exp_sums<width>(x, size, largest);                                                                       \
  }                                                                                                                 \
  attributes double kl_sum_##suffix(const float* p, const float* q, std::size_t size, double p_lse, double q_lse) { \
    return kl_sum<width>(p, q, size, p_lse, q_lse);                                                                 \
  }                                                                                                                 \
  attributes Largest largest_##suffix(const float* x, std::size_t size) { return largest_of(x, size); }
#define RETORT_TARGET(features) __attribute__((target(features)))
RETORT_KERNEL(RETORT_TARGET("avx512f,avx512dq,avx512vl"), avx512, 8)
RETORT_KERNEL(RETORT_TARGET("avx2"), avx2, 4)
RETORT_KERNEL(, baseline, 2)
#else
ExpSums exp_sums_baseline(const float* x, std::size_t size, double largest) { return exp_sums<2>(x, size, largest); }
double kl_sum_baseline(const float* p, const float* q, std::size_t size, double p_lse, double q_lse) {
  return kl_sum<2>(p, q, size, p_lse, q_lse);
}
Largest largest_baseline(const float* x, std::size_t size) { return largest_of(x, size); }
#endif

struct Kernels {
  ExpSums (*exp_sums)(const float*, std::size_t, double);
  double (*kl_sum)(const float*, const float*, std::size_t, double, double);
  Largest (*largest)(const float*, std::size_t);
};

Kernels choose_kernels() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    return {exp_sums_avx512, kl_sum_avx512, largest_avx512};
  }
  if (__builtin_cpu_supports("avx2")) return {exp_sums_avx2, kl_sum_avx2, largest_avx2};
#endif
  return {exp_sums_baseline, kl_sum_baseline, largest_baseline};
}

const Kernels& kernels() {
  static const Kernels chosen = choose_kernels();
  return chosen;
}

}  // namespace

double exp_non_positive(double x) { return exp_vector<2>(Vectors<2>::Doubles{} + x)[0]; }

RowSummary summarise_row(std::span<const float> logits) {
  RETORT_CHECK(!logits.empty());
  RowSummary row;
  const Largest largest = kernels().largest(logits.data(), logits.size());
  row.finite = largest.finite;
  if (!row.finite) return row;
  while (logits[row.top] != largest.value) ++row.top;
  const ExpSums sums = kernels().exp_sums(logits.data(), logits.size(), largest.value);
  const double log_sum = std::log(sums.sum);
  row.log_sum_exp = static_cast<double>(largest.value) + log_sum;
  row.entropy = log_sum - sums.weighted / sums.sum;
  row.top_probability = 1.0 / sums.sum;
  return row;
}

double kl_divergence(std::span<const float> p, const RowSummary& p_summary, std::span<const float> q,
                     const RowSummary& q_summary) {
  RETORT_CHECK(p.size() == q.size());
  const double sum = kernels().kl_sum(p.data(), q.data(), p.size(), p_summary.log_sum_exp, q_summary.log_sum_exp);
  return sum > 0 ? sum : 0.0;
}

}  // namespace retort::evaluate
