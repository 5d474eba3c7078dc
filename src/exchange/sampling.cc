#include "exchange/sampling.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>

// The two linear passes are compiled for several instruction sets and chosen at load time.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define RETORT_VECTOR_CLONES __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define RETORT_VECTOR_CLONES
#endif

namespace retort {
namespace {

// GCC's and clang's vector extension: compiles to whatever registers the instruction set has.
constexpr std::size_t kLanes = 16;
typedef float Floats __attribute__((vector_size(kLanes * sizeof(float)), aligned(4)));
typedef std::int32_t Ints __attribute__((vector_size(kLanes * sizeof(std::int32_t)), aligned(4)));

RETORT_VECTOR_CLONES
float largest(const float* values, std::size_t count) {
  float result = -std::numeric_limits<float>::infinity();
  std::size_t i = 0;
  if (count >= kLanes) {
    Floats best = *reinterpret_cast<const Floats*>(values);
    for (i = kLanes; i + kLanes <= count; i += kLanes) {
      const Floats next = *reinterpret_cast<const Floats*>(values + i);
      best = next > best ? next : best;
    }
    for (std::size_t lane = 0; lane < kLanes; ++lane) result = best[lane] > result ? best[lane] : result;
  }
  for (; i < count; ++i) result = values[i] > result ? values[i] : result;
  return result;
}

// weights[i] = exp((logits[i] - top) * scale), 0 below e^-87, with a relative error below 3e-7: 2^n times the Taylor
// series of e^r, |r| <= ln(2)/2. Returns their sum: FP32 within a block, FP64 over blocks.
RETORT_VECTOR_CLONES
double exponentials(const float* logits, float* weights, std::size_t count, float top, float scale) {
  constexpr float kLog2E = 1.44269504F;
  constexpr float kLn2High = 0.693359375F;
  constexpr float kLn2Low = -2.12194440e-4F;
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds to a whole number
  constexpr std::int32_t kRoundBits = std::bit_cast<std::int32_t>(kRound);
  constexpr float kLowest = -87.0F;
  constexpr std::size_t kBlock = 4096;
  static_assert(kBlock % kLanes == 0);
  const Floats lowest = Floats{} + kLowest;
  double total = 0;
  for (std::size_t begin = 0; begin < count; begin += kBlock) {
    const std::size_t end = begin + kBlock < count ? begin + kBlock : count;
    Floats sums{};
    for (std::size_t i = begin; i < end; i += kLanes) {
      Floats x;
      const std::size_t width = end - i < kLanes ? end - i : kLanes;
      if (width == kLanes) {
        x = *reinterpret_cast<const Floats*>(logits + i);
      } else {
        x = Floats{} - std::numeric_limits<float>::infinity();
        for (std::size_t lane = 0; lane < width; ++lane) x[lane] = logits[i + lane];
      }
      x = (x - top) * scale;
      const Floats clamped = x > lowest ? x : lowest;
      const Floats shifted = clamped * kLog2E + kRound;
      const Floats n = shifted - kRound;
      const Floats r = (clamped - n * kLn2High) - n * kLn2Low;
      const Floats series =
          1.0F + r * (1.0F + r * (0.5F + r * (0.166666667F +
                                              r * (0.0416666667F + r * (0.00833333333F + r * 0.00138888889F)))));
      const Ints power = ((Ints)shifted - kRoundBits + 127) << 23;
      const Floats value = x > lowest ? series * (Floats)power : Floats{};
      if (width == kLanes) {
        *reinterpret_cast<Floats*>(weights + i) = value;
      } else {
        for (std::size_t lane = 0; lane < width; ++lane) weights[i + lane] = value[lane];
      }
      sums += value;
    }
    for (std::size_t lane = 0; lane < kLanes; ++lane) total += static_cast<double>(sums[lane]);
  }
  return total;
}

TokenId first_with(std::span<const float> logits, float value) {
  const auto found = std::find(logits.begin(), logits.end(), value);
  return found == logits.end() ? -1 : static_cast<TokenId>(found - logits.begin());
}

}  // namespace

Result<void> check_sampling(const SamplingOptions& options) {
  const auto wrong = [](const char* name, double value, const char* expected) {
    std::string text = std::to_string(value);
    return caller_error(std::string("The sampling option ") + name + " is " + text + "; expected " + expected + ".");
  };
  if (!(options.temperature >= 0) || !std::isfinite(options.temperature)) {
    return wrong("temperature", options.temperature, "0 (always the most likely token) or more");
  }
  if (!(options.top_p > 0 && options.top_p <= 1)) return wrong("top_p", options.top_p, "more than 0 and at most 1");
  if (!(options.min_p >= 0 && options.min_p < 1)) return wrong("min_p", options.min_p, "at least 0 and less than 1");
  if (options.top_k < 0) return wrong("top_k", options.top_k, "0 (off) or more");
  return {};
}

// Gathers candidates_ with weights at or above the threshold; returns their mass.
double Sampler::candidates_above(std::span<const float> weights, float threshold) {
  candidates_.clear();
  double mass = 0;
  constexpr std::size_t kBlock = 64;
  for (std::size_t begin = 0; begin < weights.size(); begin += kBlock) {
    const std::size_t end = std::min(begin + kBlock, weights.size());
    // Most blocks hold nothing: one branch for all of them.
    bool any = false;
    for (std::size_t i = begin; i < end; ++i) any |= weights[i] >= threshold;
    if (!any) continue;
    for (std::size_t i = begin; i < end; ++i) {
      if (weights[i] >= threshold) {
        candidates_.push_back({weights[i], static_cast<TokenId>(i)});
        mass += static_cast<double>(weights[i]);
      }
    }
  }
  return mass;
}

// Keeps the fewest best candidates of which enough(count, mass) holds (all, if it never does), in the order of their
// ids. Halves the range in which the last of them lies, as selection of the n-th element does: linear, nothing sorted.
template <class Enough>
void Sampler::keep_best(const Enough& enough) {
  const auto better = [](const Candidate& a, const Candidate& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.id < b.id;
  };
  selection_ = candidates_;
  auto begin = selection_.begin();
  auto end = selection_.end();
  std::size_t count = 0;  // of the candidates before `begin`, which are all kept
  double mass = 0;
  while (end - begin > 1) {
    const auto middle = begin + (end - begin) / 2;
    std::nth_element(begin, middle, end, better);
    double half = 0;
    for (auto it = begin; it != middle; ++it) half += static_cast<double>(it->weight);
    const std::size_t half_count = count + static_cast<std::size_t>(middle - begin);
    if (enough(half_count, mass + half)) {
      end = middle;
    } else {
      begin = middle;
      count = half_count;
      mass += half;
    }
  }
  if (begin == selection_.end()) return;
  const Candidate last = *begin;
  std::erase_if(candidates_, [&](const Candidate& candidate) { return better(last, candidate); });
}

TokenId Sampler::sample(std::span<const float> logits, const SamplingOptions& options, Random& random) {
  const float top = largest(logits.data(), logits.size());
  if (!std::isfinite(top)) return -1;
  // Below this the tempered distribution is a single token anyway, and 1 / temperature would overflow.
  if (options.temperature < 1e-6) return first_with(logits, top);

  weights_.resize(logits.size());
  const auto scale = static_cast<float>(1.0 / options.temperature);
  double total = exponentials(logits.data(), weights_.data(), logits.size(), top, scale);
  const bool cut_k = options.top_k > 0 && static_cast<std::size_t>(options.top_k) < logits.size();
  const bool cut_p = options.top_p < 1;
  const auto floor = static_cast<float>(options.min_p);  // relative to the top weight, which is 1

  if (!cut_k && !cut_p && floor == 0) {
    double rest = random.uniform() * total;
    TokenId last = -1;
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      if (weights_[i] <= 0) continue;
      last = static_cast<TokenId>(i);
      rest -= static_cast<double>(weights_[i]);
      if (rest < 0) break;
    }
    return last;
  }

  // Lower the threshold until what top-k or top-p keeps is certainly among the candidates.
  const double wanted_mass = cut_p && !cut_k ? options.top_p * total : 0;
  const std::size_t wanted_count = cut_k ? static_cast<std::size_t>(options.top_k) : 1;
  constexpr float kSmallest = std::numeric_limits<float>::min();
  float threshold = 0.02F;
  if (!cut_k && !cut_p) threshold = floor;
  double mass = candidates_above(weights_, std::max(threshold, kSmallest));
  while ((mass < wanted_mass || candidates_.size() < wanted_count) && threshold > 0) {
    threshold = threshold > 1e-30F ? threshold / 16 : 0;
    mass = candidates_above(weights_, std::max(threshold, kSmallest));
  }

  if (cut_k) {
    keep_best([&](std::size_t count, double) { return count >= wanted_count; });
    total = 0;
    for (const Candidate& candidate : candidates_) total += static_cast<double>(candidate.weight);
  }
  if (cut_p) {
    const double enough = options.top_p * total;
    keep_best([&](std::size_t, double weight) { return weight >= enough; });
  }
  if (floor > 0) std::erase_if(candidates_, [&](const Candidate& candidate) { return candidate.weight < floor; });

  double sum = 0;
  for (const Candidate& candidate : candidates_) sum += static_cast<double>(candidate.weight);
  double rest = random.uniform() * sum;
  for (const Candidate& candidate : candidates_) {
    rest -= static_cast<double>(candidate.weight);
    if (rest < 0) return candidate.id;
  }
  return candidates_.empty() ? -1 : candidates_.back().id;
}

}  // namespace retort
