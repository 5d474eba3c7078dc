#include "train/objective_reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace retort::train {
namespace {

using Row = std::vector<double>;

// Log-probabilities at the temperature.
Row log_softmax(std::span<const double> logits, double temperature) {
  double largest = -std::numeric_limits<double>::infinity();
  for (const double z : logits) largest = std::max(largest, z);
  double sum = 0;
  for (const double z : logits) sum += std::exp((z - largest) / temperature);
  Row result;
  for (const double z : logits) result.push_back((z - largest) / temperature - std::log(sum));
  return result;
}

// x log(x / y), with log x and log y given; 0 log 0 = 0.
double surprise(double x, double log_x, double log_y) { return x == 0 ? 0 : x * (log_x - log_y); }

// log of a mixture: log(w x + (1 - w) y).
double log_mixture(double w, double x, double y) { return std::log(w * x + (1 - w) * y); }

struct TermValue {
  double value = 0;
  Row pull;  // q_i d value / d q_i, the components of q held for independent
};

// `lp`, `lq`: the log-probabilities of teacher and student.
TermValue term_value(Term term, const Row& lp, const Row& lq, double beta, double s, std::size_t label) {
  if (term == Term::kJsd && beta == 0) return term_value(Term::kForwardKl, lp, lq, beta, s, label);
  if (term == Term::kJsd && beta == 1) return term_value(Term::kReverseKl, lp, lq, beta, s, label);
  TermValue result;
  for (std::size_t i = 0; i < lp.size(); ++i) {
    const double p = std::exp(lp[i]);
    const double q = std::exp(lq[i]);
    double value = 0;
    double pull = 0;
    switch (term) {
      case Term::kForwardKl:
        value = surprise(p, lp[i], lq[i]);
        pull = -p;
        break;
      case Term::kReverseKl:
        value = surprise(q, lq[i], lp[i]);
        pull = value + q;
        break;
      case Term::kJsd: {
        const double lm = log_mixture(beta, p, q);
        value = beta * surprise(p, lp[i], lm) + (1 - beta) * surprise(q, lq[i], lm);
        if (q > 0) {
          const double share = q / std::exp(lm);
          pull = (1 - beta) * (surprise(q, lq[i], lm) + q - beta * p * share - (1 - beta) * q * share);
        }
        break;
      }
      case Term::kSkewKl: {
        const double lm = log_mixture(s, p, q);
        value = surprise(p, lp[i], lm);
        if (q > 0) pull = -p * (1 - s) * q / std::exp(lm);
        break;
      }
      case Term::kSkewRkl: {
        const double lm = log_mixture(s, q, p);
        value = surprise(q, lq[i], lm);
        if (q > 0) pull = value + q - q * s * q / std::exp(lm);
        break;
      }
      case Term::kTvd:
        value = std::abs(p - q) / 2;
        pull = p == q ? 0 : (q > p ? q / 2 : -q / 2);
        break;
      case Term::kCe:
        value = i == label ? -lq[i] : 0;
        pull = i == label ? -1 : 0;
        break;
    }
    result.value += value;
    result.pull.push_back(pull);
  }
  return result;
}

}  // namespace

ReferenceLoss reference_loss(const ObjectiveMix& mix, std::span<const double> student, std::span<const double> teacher,
                             std::span<const TokenId> labels, std::size_t vocabulary, TokenId ignore_index) {
  ReferenceLoss result;
  result.gradient.assign(student.size(), 0);
  for (const TokenId label : labels) result.tokens += label == ignore_index ? 0 : 1;
  const double share = result.tokens == 0 ? 0 : mix.factor() / static_cast<double>(result.tokens);
  for (std::size_t row = 0; row < labels.size(); ++row) {
    if (labels[row] == ignore_index) continue;
    const Row lq = log_softmax(student.subspan(row * vocabulary, vocabulary), mix.temperature);
    const Row lp = log_softmax(teacher.subspan(row * vocabulary, vocabulary), mix.temperature);
    for (std::size_t t = 0; t < kTerms; ++t) {
      if (mix.weights[t] == 0) continue;
      const TermValue term =
          term_value(static_cast<Term>(t), lp, lq, mix.beta, mix.skew, static_cast<std::size_t>(labels[row]));
      result.loss += share * mix.weights[t] * term.value;
      // d q_i / d z_j = q_i ([i = j] - q_j) / T
      double total_pull = 0;
      for (const double pull : term.pull) total_pull += pull;
      for (std::size_t i = 0; i < vocabulary; ++i) {
        const double slope = term.pull[i] - std::exp(lq[i]) * total_pull;
        result.gradient[row * vocabulary + i] += share * mix.weights[t] * slope / mix.temperature;
      }
    }
  }
  return result;
}

ReferenceLoss reference_loss(const ObjectiveMix& mix, std::span<const double> student, const SparseSignal& signal,
                             std::span<const TokenId> labels, std::size_t vocabulary) {
  ReferenceLoss result;
  result.gradient.assign(student.size(), 0);
  result.tokens = static_cast<std::int64_t>(labels.size());
  const double share = mix.factor() / static_cast<double>(labels.size());
  for (std::size_t row = 0; row < labels.size(); ++row) {
    const Row lq = log_softmax(student.subspan(row * vocabulary, vocabulary), mix.temperature);
    Row weights(vocabulary);
    for (std::size_t slot = row * signal.slots; slot < (row + 1) * signal.slots; ++slot) {
      weights[static_cast<std::size_t>(signal.ids[slot])] += static_cast<double>(signal.weights[slot]);
    }
    double mass = 0, rest_q = 0;
    TermValue kl{0, Row(vocabulary)};
    for (std::size_t i = 0; i < vocabulary; ++i) {
      mass += weights[i];
      if (weights[i] == 0) rest_q += std::exp(lq[i]);
      kl.value += signal.bucket ? surprise(weights[i], std::log(weights[i]), lq[i]) : -weights[i] * lq[i];
      kl.pull[i] = -weights[i];
    }
    if (!signal.bucket && signal.slots > 0) kl.value -= static_cast<double>(signal.entropies[row]);
    if (const double tail = 1 - mass; signal.bucket && tail > 0) {
      kl.value += tail * std::log(tail / rest_q);
      for (std::size_t i = 0; i < vocabulary; ++i) kl.pull[i] -= weights[i] == 0 ? tail * std::exp(lq[i]) / rest_q : 0;
    }
    const auto label = static_cast<std::size_t>(labels[row]);
    const TermValue cross_entropy = term_value(Term::kCe, lq, lq, 0, 0, label);
    for (const Term term : {Term::kForwardKl, Term::kCe}) {
      if (mix.weight(term) == 0) continue;
      const TermValue& part = term == Term::kCe ? cross_entropy : kl;
      result.loss += share * mix.weight(term) * part.value;
      double total_pull = 0;
      for (const double pull : part.pull) total_pull += pull;
      for (std::size_t i = 0; i < vocabulary; ++i) {
        const double slope = part.pull[i] - std::exp(lq[i]) * total_pull;
        result.gradient[row * vocabulary + i] += share * mix.weight(term) * slope / mix.temperature;
      }
    }
  }
  return result;
}

}  // namespace retort::train
