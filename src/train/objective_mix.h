// What can be minimised: divergences between the teacher's distribution p and the student's q, and their mixture.
//
// With logits z, p = softmax(z_teacher / T) and q = softmax(z_student / T) over the whole vocabulary, in nats, each the
// mean over the supervised tokens of the whole global batch (so that no split of the batch shows):
//   forward_kl  KL(p || q) = sum p log(p / q)         (Hinton et al., arXiv 1503.02531)
//   reverse_kl  KL(q || p)                            (Gu et al., MiniLLM, arXiv 2306.08543)
//   jsd         beta KL(p || m) + (1 - beta) KL(q || m), m = beta p + (1 - beta) q
//               (Agarwal et al., GKD, arXiv 2306.13649, section 2); beta 0 and 1 are DEFINED as forward_kl and
//               reverse_kl (the limits of jsd / beta and jsd / (1 - beta)); at 0.5 symmetric and at most log 2
//   skew_kl     KL(p || (1 - s) q + s p)              (Ko et al., DistiLLM, arXiv 2402.03898, section 3.1)
//   skew_rkl    KL(q || (1 - s) p + s q)              (the same)
//   tvd         1/2 sum |p - q|                       (Wen et al., arXiv 2307.15190, section 3)
//   ce          -log q(label): the teacher's text     (Kim and Rush, arXiv 1606.07947)
//
// T divides both logits, in every term, `ce` included. `temperature_squared` multiplies the loss by T^2, which keeps
// the size of the gradient as T grows (Hinton et al., section 2); off unless asked for.
//
// All but `ce` are never negative, and zero when p = q. A plain value; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace retort::train {

enum class Term { kForwardKl, kReverseKl, kJsd, kSkewKl, kSkewRkl, kTvd, kCe };
inline constexpr std::size_t kTerms = 7;

struct ObjectiveMix {
  std::array<double, kTerms> weights = {};  // by Term; the loss is the sum of weight times term
  double beta = 0.5;                        // of jsd
  double skew = 0.1;                        // s of skew_kl and skew_rkl
  double temperature = 1;
  bool temperature_squared = false;

  double weight(Term term) const { return weights[static_cast<std::size_t>(term)]; }
  double& weight(Term term) { return weights[static_cast<std::size_t>(term)]; }
  // What the whole loss is multiplied by.
  double factor() const { return temperature_squared ? temperature * temperature : 1; }
};

std::string_view name_of(Term term);           // "forward_kl", …
const std::vector<std::string>& term_names();  // in the order of Term
// Error (kCaller): no such name; says the nearest.
Result<Term> term_from_name(std::string_view name);

// Error (kCaller): a weight that is negative or no number, none above zero, beta or skew outside [0, 1], or a
// temperature that isn't above zero. Says so in a sentence that begins with the field's name.
Result<void> check(const ObjectiveMix& mix);

// The same objective with the limits written as what they are: jsd at beta 0 and 1 as forward_kl and reverse_kl,
// skewed divergences at skew 0 as the plain ones and at skew 1, where they are zero, left out.
ObjectiveMix resolved(const ObjectiveMix& mix);

// "forward_kl", "0.7 forward_kl + 0.3 jsd (beta 0.1), temperature 2": what a line of metrics says its loss is.
std::string describe(const ObjectiveMix& mix);

}  // namespace retort::train
