#include "train/objective_rows.h"

#include <ATen/Parallel.h>

#include <type_traits>

#include "base/error.h"
#include "model/parallel.h"

namespace retort::train {
namespace {

float weight(const ObjectiveMix& mix, Term term) { return static_cast<float>(mix.weight(term)); }

// Forward KL and cross-entropy alone.
bool is_forward(const ObjectiveMix& mix) {
  double others = 0;
  for (const Term term : {Term::kReverseKl, Term::kJsd, Term::kSkewKl, Term::kSkewRkl, Term::kTvd}) {
    others += mix.weight(term);
  }
  return others == 0;
}

RowWeights plain_weights(const ObjectiveMix& mix, double scale) {
  return {weight(mix, Term::kForwardKl), weight(mix, Term::kCe), static_cast<float>(scale)};
}

RowMix row_mix(const ObjectiveMix& mix, double scale) {
  RowMix row;
  row.forward_kl = weight(mix, Term::kForwardKl);
  row.reverse_kl = weight(mix, Term::kReverseKl);
  row.jsd = weight(mix, Term::kJsd);
  row.skew_kl = weight(mix, Term::kSkewKl);
  row.skew_rkl = weight(mix, Term::kSkewRkl);
  row.tvd = weight(mix, Term::kTvd);
  row.cross_entropy = weight(mix, Term::kCe);
  row.beta = static_cast<float>(mix.beta);
  row.skew = static_cast<float>(mix.skew);
  row.inverse_temperature = static_cast<float>(1 / mix.temperature);
  row.scale = static_cast<float>(scale * mix.factor() / mix.temperature);
  return row;
}

RowLoss row_loss(const Kernels& kernel, float* student, const float* teacher, std::size_t n, TokenId target,
                 const RowWeights& weights, bool gradient, float* scratch) {
  return kernel.kl_row_f32(student, teacher, n, target, weights, gradient, scratch);
}
RowLoss row_loss(const Kernels& kernel, Bf16* student, const Bf16* teacher, std::size_t n, TokenId target,
                 const RowWeights& weights, bool gradient, float* scratch) {
  return kernel.kl_row_bf16(student, teacher, n, target, weights, gradient, scratch);
}
RowLoss row_loss(const Kernels& kernel, float* student, const float* teacher, std::size_t n, TokenId target,
                 const RowMix& mix, bool gradient, float* scratch) {
  return kernel.mixed_row_f32(student, teacher, n, target, mix, gradient, scratch);
}
RowLoss row_loss(const Kernels& kernel, Bf16* student, const Bf16* teacher, std::size_t n, TokenId target,
                 const RowMix& mix, bool gradient, float* scratch) {
  return kernel.mixed_row_bf16(student, teacher, n, target, mix, gradient, scratch);
}

}  // namespace

LossSums& LossSums::operator+=(const LossSums& other) {
  loss += other.loss;
  kl += other.kl;
  cross_entropy += other.cross_entropy;
  tokens += other.tokens;
  bad_student_rows += other.bad_student_rows;
  bad_teacher_rows += other.bad_teacher_rows;
  return *this;
}

ObjectiveRows::ObjectiveRows(const ObjectiveMix& mix, std::int64_t vocabulary)
    : mix_(resolved(mix)),
      plain_(is_forward(mix_) && mix_.temperature == 1),
      vocabulary_(static_cast<std::size_t>(vocabulary)) {
  RETORT_CHECK(vocabulary > 0);
  RETORT_CHECK(check(mix).has_value());
  scratch_.resize(row_scratch(vocabulary_) * static_cast<std::size_t>(at::get_num_threads()));
}

template <class One>
LossSums ObjectiveRows::over_rows(std::size_t rows, const One& one) {
  const std::size_t scratch_size = row_scratch(vocabulary_);
  losses_.resize(rows);
  model::parallel_for(0, static_cast<std::int64_t>(rows), 1, [&](std::int64_t first, std::int64_t last) {
    const auto thread = static_cast<std::size_t>(model::parallel_thread());
    // at::get_num_threads() may have grown since; a thread without scratch of its own makes one.
    std::vector<float> own;
    float* scratch = scratch_.data() + thread * scratch_size;
    if ((thread + 1) * scratch_size > scratch_.size()) {
      own.resize(scratch_size);
      scratch = own.data();
    }
    for (auto row = static_cast<std::size_t>(first); row < static_cast<std::size_t>(last); ++row) {
      losses_[row] = one(row, scratch);
    }
  });
  LossSums sums;
  for (const RowLoss& loss : losses_) {
    sums.loss += loss.loss;
    sums.kl += loss.kl;
    sums.cross_entropy += loss.cross_entropy;
    sums.bad_student_rows += loss.student_finite ? 0 : 1;
    sums.bad_teacher_rows += loss.teacher_finite ? 0 : 1;
  }
  sums.loss *= mix_.factor();
  sums.tokens = static_cast<std::int64_t>(rows);
  return sums;
}

template <class T>
LossSums ObjectiveRows::run_rows(T* student, const T* teacher, std::span<const TokenId> targets,
                                 std::int64_t tokens_in_step) {
  const bool gradient = tokens_in_step > 0;
  const double scale = gradient ? 1.0 / static_cast<double>(tokens_in_step) : 0;
  const RowWeights weights = plain_weights(mix_, scale);
  const RowMix mix = row_mix(mix_, scale);
  const Kernels& kernel = kernels();
  return over_rows(targets.size(), [&](std::size_t row, float* scratch) {
    T* to = student + row * vocabulary_;
    const T* from = teacher + row * vocabulary_;
    return plain_ ? row_loss(kernel, to, from, vocabulary_, targets[row], weights, gradient, scratch)
                  : row_loss(kernel, to, from, vocabulary_, targets[row], mix, gradient, scratch);
  });
}

template <class T>
LossSums ObjectiveRows::run_sparse_rows(T* student, const SparseSignal& signal, std::size_t begin,
                                        std::span<const TokenId> targets, std::int64_t tokens_in_step) {
  RETORT_CHECK(signal.slots <= kMostSparseTokens);
  RETORT_CHECK(is_forward(mix_) && (signal.slots > 0 || mix_.weight(Term::kForwardKl) == 0));
  const bool gradient = tokens_in_step > 0;
  const RowMix full = row_mix(mix_, gradient ? 1.0 / static_cast<double>(tokens_in_step) : 0);
  const SparseMix mix{full.forward_kl, full.cross_entropy, full.inverse_temperature, full.scale};
  const Kernels& kernel = kernels();
  return over_rows(targets.size(), [&](std::size_t row, float* scratch) {
    const std::size_t place = (begin + row) * signal.slots;
    const SparseTokens tokens{signal.ids.data() + place, signal.weights.data() + place, signal.slots, signal.bucket,
                              signal.slots == 0 ? 0.0F : signal.entropies[begin + row]};
    T* to = student + row * vocabulary_;
    if constexpr (std::is_same_v<T, float>) {
      return kernel.sparse_row_f32(to, vocabulary_, tokens, targets[row], mix, gradient, scratch);
    } else {
      return kernel.sparse_row_bf16(to, vocabulary_, tokens, targets[row], mix, gradient, scratch);
    }
  });
}

LossSums ObjectiveRows::run(float* student, const float* teacher, std::span<const TokenId> targets,
                            std::int64_t tokens_in_step) {
  return run_rows(student, teacher, targets, tokens_in_step);
}

LossSums ObjectiveRows::run(Bf16* student, const Bf16* teacher, std::span<const TokenId> targets,
                            std::int64_t tokens_in_step) {
  return run_rows(student, teacher, targets, tokens_in_step);
}

LossSums ObjectiveRows::run_sparse(float* student, const SparseSignal& signal, std::size_t begin,
                                   std::span<const TokenId> targets, std::int64_t tokens_in_step) {
  return run_sparse_rows(student, signal, begin, targets, tokens_in_step);
}

LossSums ObjectiveRows::run_sparse(Bf16* student, const SparseSignal& signal, std::size_t begin,
                                   std::span<const TokenId> targets, std::int64_t tokens_in_step) {
  return run_sparse_rows(student, signal, begin, targets, tokens_in_step);
}

std::int64_t ObjectiveRows::bytes() const { return static_cast<std::int64_t>(scratch_.size() * sizeof(float)); }

}  // namespace retort::train
