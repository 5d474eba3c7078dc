#include "llama/sampling.h"

#include <algorithm>
#include <array>
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

namespace retort::llama {
namespace {

constexpr std::size_t kLanes = 16;

RETORT_VECTOR_CLONES
float largest(const float* values, std::size_t count) {
  std::array<float, kLanes> lanes;
  lanes.fill(-std::numeric_limits<float>::infinity());
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] = values[i + lane] > lanes[lane] ? values[i + lane] : lanes[lane];
    }
  }
  for (; i < count; ++i) lanes[0] = values[i] > lanes[0] ? values[i] : lanes[0];
  float result = lanes[0];
  for (const float lane : lanes) result = lane > result ? lane : result;
  return result;
}

// e^x for x <= 0 with a relative error below 2e-7: 2^n times the Taylor series of e^r, |r| <= ln(2)/2.
inline float exp_of_nonpositive(float x) {
  constexpr float kLog2E = 1.44269504F;
  constexpr float kLn2High = 0.693359375F;
  constexpr float kLn2Low = -2.12194440e-4F;
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds to a whole number
  const float clamped = x < -87.0F ? -87.0F : x;
  const float shifted = clamped * kLog2E + kRound;
  const float n = shifted - kRound;
  const float r = (clamped - n * kLn2High) - n * kLn2Low;
  const float series =
      1.0F +
      r * (1.0F +
           r * (0.5F + r * (0.166666667F + r * (0.0416666667F + r * (0.00833333333F + r * 0.00138888889F)))));
  const auto exponent = (std::bit_cast<std::int32_t>(shifted) - std::bit_cast<std::int32_t>(kRound) + 127) << 23;
  const float value = series * std::bit_cast<float>(exponent);
  return x < -87.0F ? 0.0F : value;
}

// weights[i] = exp((logits[i] - top) * scale); returns their sum.
RETORT_VECTOR_CLONES
double exponentials(const float* logits, float* weights, std::size_t count, float top, float scale) {
  constexpr std::size_t kBlock = 4096;  // summed in FP32 within a block, in FP64 over blocks
  double total = 0;
  for (std::size_t begin = 0; begin < count; begin += kBlock) {
    const std::size_t end = begin + kBlock < count ? begin + kBlock : count;
    std::array<float, kLanes> lanes{};
    std::size_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        const float weight = exp_of_nonpositive((logits[i + lane] - top) * scale);
        weights[i + lane] = weight;
        lanes[lane] += weight;
      }
    }
    double block = 0;
    for (; i < end; ++i) {
      weights[i] = exp_of_nonpositive((logits[i] - top) * scale);
      block += static_cast<double>(weights[i]);
    }
    for (const float lane : lanes) block += static_cast<double>(lane);
    total += block;
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

  const auto better = [](const Candidate& a, const Candidate& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.id < b.id;
  };
  if (cut_k && candidates_.size() > wanted_count) {
    std::nth_element(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(wanted_count) - 1,
                     candidates_.end(), better);
    candidates_.resize(wanted_count);
  }
  std::size_t kept = candidates_.size();
  if (cut_k) {
    total = 0;
    for (const Candidate& candidate : candidates_) total += static_cast<double>(candidate.weight);
  }
  if (cut_p) {
    // A heap gives the largest first without sorting the rest; they gather at the vector's end.
    const auto worse = [&](const Candidate& a, const Candidate& b) { return better(b, a); };
    std::make_heap(candidates_.begin(), candidates_.end(), worse);
    auto end = candidates_.end();
    double reached = 0;
    while (end != candidates_.begin() && (reached < options.top_p * total || end == candidates_.end())) {
      std::pop_heap(candidates_.begin(), end, worse);
      --end;
      reached += static_cast<double>(end->weight);
    }
    kept = static_cast<std::size_t>(candidates_.end() - end);
    std::reverse(end, candidates_.end());
    std::move(end, candidates_.end(), candidates_.begin());
    candidates_.resize(kept);
  } else {
    std::sort(candidates_.begin(), candidates_.end(), better);
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

}  // namespace retort::llama
