// Rows of logits turned into probabilities, in FP64 and without any library of tensors: the arithmetic that checks the
// training loss from outside.
//
// For a row x: log-probability of i is x_i - lse(x), lse(x) = m + log(sum_j exp(x_j - m)), m the largest x_j.
// KL(p || q) = sum_i p_i (log p_i - log q_i), in nats (Kullback and Leibler 1951), over the whole vocabulary: nothing
// is cut to the likeliest tokens, so the value can't be negative but for rounding (below 1e-12).
//
// exp is a polynomial written so that it vectorises; it differs from the exact value by at most 2 units in the last
// place (checked by the tests). The sums run over eight fixed lanes, so the result of a row doesn't depend on the
// instruction set or on the number of threads. Pure functions; any thread.
#pragma once

#include <cstddef>
#include <span>

namespace retort::evaluate {

// exp(x) for x <= 0, by the polynomial the kernels use. Below -708 it stays at exp(-708), about 3e-308.
double exp_non_positive(double x);

// The row as a distribution.
struct RowSummary {
  double log_sum_exp = 0;  // lse of the row
  double entropy = 0;      // nats
  std::size_t top = 0;     // the likeliest token; the first of equals
  double top_probability = 0;
  bool finite = false;  // every logit was finite; when false the other members mean nothing
};

RowSummary summarise_row(std::span<const float> logits);

// Log-probability of one token.
inline double log_probability(std::span<const float> logits, const RowSummary& summary, std::size_t token) {
  return static_cast<double>(logits[token]) - summary.log_sum_exp;
}

// KL(p || q) in nats between the distributions of two rows of one length. Equal rows give exactly 0; rounding that
// would leave a tiny negative value gives 0.
double kl_divergence(std::span<const float> p, const RowSummary& p_summary, std::span<const float> q,
                     const RowSummary& q_summary);

}  // namespace retort::evaluate
