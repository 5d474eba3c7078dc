#include "train/objective_tensors.h"

#include <torch/torch.h>

#include <cmath>
#include <limits>

#include "base/error.h"

namespace retort::train {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

// Sums over rows, [n] each.
struct RowSums {
  at::Tensor loss, kl, cross_entropy, bad_student, bad_teacher;
};

// A logit that is NaN or plus infinity, or none above minus infinity.
at::Tensor bad_rows(const at::Tensor& wide) {
  const at::Tensor highest = wide.amax(1);  // NaN when one is
  return highest.isfinite().logical_not();
}

// a where the factor is above zero, else zero: 0 log 0 = 0.
at::Tensor where_any(const at::Tensor& factor, const at::Tensor& a) {
  return at::where(factor > 0, factor * a, at::zeros({}, a.options()));
}

at::Tensor labels_of(std::span<const TokenId> targets, at::Device device) {
  at::Tensor labels = at::empty({static_cast<std::int64_t>(targets.size())}, at::kLong);
  auto* label = labels.mutable_data_ptr<std::int64_t>();
  for (std::size_t i = 0; i < targets.size(); ++i) label[i] = targets[i];
  return labels.to(device);
}

LossSums summed(const RowSums& rows, const ObjectiveMix& mix, std::size_t count) {
  const at::Tensor figures = at::stack({rows.loss.to(at::kDouble).sum(), rows.kl.to(at::kDouble).sum(),
                                        rows.cross_entropy.to(at::kDouble).sum(),
                                        rows.bad_student.to(at::kDouble).sum(), rows.bad_teacher.to(at::kDouble).sum()})
                                 .cpu();
  const auto* figure = figures.const_data_ptr<double>();
  LossSums sums;
  sums.loss = figure[0] * mix.factor();
  sums.kl = figure[1];
  sums.cross_entropy = figure[2];
  sums.tokens = static_cast<std::int64_t>(count);
  sums.bad_student_rows = std::llround(figure[3]);
  sums.bad_teacher_rows = std::llround(figure[4]);
  return sums;
}

// What the gradient with respect to the logits times the temperature is multiplied by.
double scale_of(const ObjectiveMix& mix, std::int64_t tokens_in_step) {
  return mix.factor() / mix.temperature / static_cast<double>(tokens_in_step);
}

}  // namespace

LossSums rows_by_tensors(const ObjectiveMix& wanted, at::Tensor& student, const at::Tensor& teacher,
                         std::span<const TokenId> targets, std::int64_t tokens_in_step) {
  const at::NoGradGuard no_gradient;
  const ObjectiveMix mix = resolved(wanted);
  const at::Tensor z = student.to(at::kFloat).div(mix.temperature);
  const at::Tensor z_teacher = teacher.to(at::kFloat).div(mix.temperature);
  const at::Tensor log_q = at::log_softmax(z, 1), log_p = at::log_softmax(z_teacher, 1);
  const at::Tensor q = log_q.exp(), p = log_p.exp();
  const at::Tensor labels = labels_of(targets, student.device()).unsqueeze(1);

  RowSums rows;
  rows.bad_student = bad_rows(z);
  rows.bad_teacher = bad_rows(z_teacher);
  rows.cross_entropy = -log_q.gather(1, labels).squeeze(1);
  rows.kl = where_any(p, log_p - log_q).sum(1).clamp_min(0);

  const double forward = mix.weight(Term::kForwardKl), cross_entropy = mix.weight(Term::kCe);
  rows.loss = forward * rows.kl + cross_entropy * rows.cross_entropy;
  if (forward == 0) rows.loss = cross_entropy * rows.cross_entropy;  // an infinite KL that isn't asked for stays out
  // The slope of the other terms with respect to q, and the gradient with respect to z of these two.
  at::Tensor slope = at::zeros_like(q);
  at::Tensor gradient = q * (forward + cross_entropy) - p * forward;
  gradient.scatter_add_(1, labels, at::full_like(labels, -cross_entropy, at::TensorOptions(at::kFloat)));
  const auto kl_to_mixture = [](const at::Tensor& a, const at::Tensor& log_a, const at::Tensor& mixture) {
    return where_any(a, log_a - mixture.log()).sum(1).clamp_min(0);
  };
  const auto log_ratio = [](const at::Tensor& a, const at::Tensor& log_a, const at::Tensor& mixture) {
    return at::where(a > 0, log_a - mixture.log(), at::zeros({}, a.options()));
  };
  if (const double weight = mix.weight(Term::kReverseKl); weight > 0) {
    rows.loss = rows.loss + weight * where_any(q, log_q - log_p).sum(1).clamp_min(0);
    slope += weight * at::where(q > 0, log_q - log_p, at::zeros({}, q.options()));
  }
  if (const double weight = mix.weight(Term::kJsd); weight > 0) {
    const at::Tensor m = mix.beta * p + (1 - mix.beta) * q;
    rows.loss =
        rows.loss + weight * (mix.beta * kl_to_mixture(p, log_p, m) + (1 - mix.beta) * kl_to_mixture(q, log_q, m));
    slope += weight * (1 - mix.beta) * log_ratio(q, log_q, m);
  }
  if (const double weight = mix.weight(Term::kSkewKl); weight > 0) {
    const at::Tensor m = (1 - mix.skew) * q + mix.skew * p;
    rows.loss = rows.loss + weight * kl_to_mixture(p, log_p, m);
    slope -= weight * (1 - mix.skew) * where_any(p, 1 / m);
  }
  if (const double weight = mix.weight(Term::kSkewRkl); weight > 0) {
    const at::Tensor m = (1 - mix.skew) * p + mix.skew * q;
    rows.loss = rows.loss + weight * kl_to_mixture(q, log_q, m);
    slope += weight * (log_ratio(q, log_q, m) - mix.skew * where_any(q, 1 / m));
  }
  if (const double weight = mix.weight(Term::kTvd); weight > 0) {
    rows.loss = rows.loss + weight * 0.5 * (p - q).abs().sum(1);
    slope += weight * 0.5 * (q - p).sign();
  }
  if (tokens_in_step > 0) {
    // d/dz_i of f(softmax(z)) = q_i (f_i - sum_j q_j f_j).
    const at::Tensor weighted = q * slope;
    gradient += weighted - q * weighted.sum(1, true);
    student.copy_(gradient * scale_of(mix, tokens_in_step));
  }
  return summed(rows, mix, targets.size());
}

LossSums sparse_rows_by_tensors(const ObjectiveMix& wanted, at::Tensor& student, const SparseSignal& signal,
                                std::size_t begin, std::span<const TokenId> targets, std::int64_t tokens_in_step) {
  const at::NoGradGuard no_gradient;
  const ObjectiveMix mix = resolved(wanted);
  const double forward = mix.weight(Term::kForwardKl), cross_entropy = mix.weight(Term::kCe);
  RETORT_CHECK(signal.slots > 0 || forward == 0);
  const at::Device device = student.device();
  const auto count = static_cast<std::int64_t>(targets.size());
  const at::Tensor z = student.to(at::kFloat).div(mix.temperature);
  const at::Tensor log_q = at::log_softmax(z, 1);
  const at::Tensor q = log_q.exp();
  const at::Tensor labels = labels_of(targets, device).unsqueeze(1);

  RowSums rows;
  rows.bad_student = bad_rows(z);
  rows.bad_teacher = at::zeros_like(rows.bad_student);
  rows.cross_entropy = -log_q.gather(1, labels).squeeze(1);
  rows.kl = at::zeros({count}, z.options());
  at::Tensor gradient = q * cross_entropy;
  gradient.scatter_add_(1, labels, at::full_like(labels, -cross_entropy, at::TensorOptions(at::kFloat)));
  if (signal.slots > 0) {
    const auto slots = static_cast<std::int64_t>(signal.slots);
    const std::size_t place = begin * signal.slots;
    const auto part = [&](const auto& values, std::size_t first, std::vector<std::int64_t> shape, at::ScalarType type) {
      // from_blob() only reads here; it takes no pointer to const.
      auto* data = const_cast<void*>(static_cast<const void*>(values.data() + first));
      return torch::from_blob(data, shape, at::TensorOptions(type)).to(device);
    };
    const at::Tensor ids = part(signal.ids, place, {count, slots}, at::kInt).to(at::kLong);
    const at::Tensor weights = part(signal.weights, place, {count, slots}, at::kFloat);
    const at::Tensor sum = weights.sum(1);
    const at::Tensor log_q_at = log_q.gather(1, ids);
    if (signal.bucket) {
      // One more token: all others together.
      const at::Tensor named = weights > 0;
      at::Tensor others = z.clone();
      // Added, not set: an empty slot may name the id of one that isn't.
      const at::Tensor nothing = at::zeros({}, z.options());
      others.scatter_add_(1, ids, at::where(named, at::full({}, kMinusInfinity, z.options()), nothing));
      const at::Tensor log_rest = (at::logsumexp(others, 1) - at::logsumexp(z, 1)).clamp_min(std::log(1e-30));
      const at::Tensor rest = (1 - sum).clamp_min(0);
      rows.kl = where_any(weights, weights.log() - log_q_at).sum(1) + where_any(rest, rest.log() - log_rest);
      rows.kl = rows.kl.clamp_min(0);
      at::Tensor slope = q * (1 - (rest / log_rest.exp())).unsqueeze(1);
      slope.scatter_add_(1, ids, at::where(named, q.gather(1, ids) - weights - slope.gather(1, ids), nothing));
      gradient += forward * slope;
    } else {
      const at::Tensor entropies = part(signal.entropies, begin, {count}, at::kFloat);
      rows.kl = -where_any(weights, log_q_at).sum(1) - entropies;
      at::Tensor slope = q * sum.unsqueeze(1);
      slope.scatter_add_(1, ids, -weights);
      gradient += forward * slope;
    }
  }
  rows.loss = forward * rows.kl + cross_entropy * rows.cross_entropy;
  if (tokens_in_step > 0) student.copy_(gradient * scale_of(mix, tokens_in_step));
  return summed(rows, mix, targets.size());
}

}  // namespace retort::train
