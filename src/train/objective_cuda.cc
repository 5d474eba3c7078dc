#include "train/objective_cuda.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "train/cuda_sources.h"

namespace retort::train {
namespace {

constexpr int kThreads = 512;  // THREADS of the kernels

// `values` from `first` on, as a tensor of the shape on the device.
template <class T>
at::Tensor on_device(const std::vector<T>& values, std::size_t first, const std::vector<std::int64_t>& shape,
                     at::ScalarType type) {
  // from_blob() only reads here; it takes no pointer to const.
  auto* data = const_cast<void*>(static_cast<const void*>(values.data() + first));
  return torch::from_blob(data, shape, at::TensorOptions(type)).to(at::kCUDA);
}

}  // namespace

// As the kernels have it.
struct CudaObjectiveRows::Mix {
  float forward_kl, reverse_kl, jsd, skew_kl, skew_rkl, tvd, cross_entropy;
  float beta, skew;
  float inverse_temperature;
  float gradient_scale;
};

CudaObjectiveRows::CudaObjectiveRows(model::CudaProgram program, const ObjectiveMix& mix)
    : program_(std::move(program)),
      objective_rows_(program_.kernel("objective_rows")),
      kept_rows_(program_.kernel("kept_rows")),
      mix_(mix) {}

Result<CudaObjectiveRows> CudaObjectiveRows::make(const ObjectiveMix& mix, at::ScalarType dtype) {
  const ObjectiveMix own = resolved(mix);
  std::vector<std::string> options = {dtype == at::kBFloat16 ? "-DLOGITS_BF16=1" : "-DLOGITS_BF16=0"};
  const auto asked = [&](const char* name, Term term) {
    options.push_back("-D" + std::string(name) + (own.weight(term) > 0 ? "=1" : "=0"));
  };
  asked("REVERSE_KL", Term::kReverseKl);
  asked("JSD", Term::kJsd);
  asked("SKEW_KL", Term::kSkewKl);
  asked("SKEW_RKL", Term::kSkewRkl);
  asked("TVD", Term::kTvd);
  RETORT_ASSIGN(model::CudaProgram program,
                model::CudaProgram::compile("objective_rows.cu", cuda_source::objective_rows, options));
  return CudaObjectiveRows(std::move(program), own);
}

at::Tensor CudaObjectiveRows::labels(std::span<const TokenId> targets) {
  const std::vector<std::int32_t> values(targets.begin(), targets.end());
  return on_device(values, 0, {static_cast<std::int64_t>(values.size())}, at::kInt);
}

CudaObjectiveRows::Mix CudaObjectiveRows::arguments(std::int64_t tokens_in_step) const {
  const auto weight = [&](Term term) { return static_cast<float>(mix_.weight(term)); };
  const double scale =
      tokens_in_step > 0 ? mix_.factor() / mix_.temperature / static_cast<double>(tokens_in_step) : 0.0;
  return {weight(Term::kForwardKl),
          weight(Term::kReverseKl),
          weight(Term::kJsd),
          weight(Term::kSkewKl),
          weight(Term::kSkewRkl),
          weight(Term::kTvd),
          weight(Term::kCe),
          static_cast<float>(mix_.beta),
          static_cast<float>(mix_.skew),
          static_cast<float>(1.0 / mix_.temperature),
          static_cast<float>(scale)};
}

at::Tensor CudaObjectiveRows::run(at::Tensor& student, const at::Tensor& teacher, const at::Tensor& labels,
                                  std::int64_t tokens_in_step) const {
  const std::int64_t rows = student.size(0);
  at::Tensor result = at::empty({rows, 5}, student.options().dtype(at::kDouble));
  program_.launch(objective_rows_, {rows, 1, kThreads}, student.mutable_data_ptr(), teacher.const_data_ptr(),
                  labels.const_data_ptr(), static_cast<int>(student.size(1)), arguments(tokens_in_step),
                  result.mutable_data_ptr());
  return result;
}

at::Tensor CudaObjectiveRows::run_sparse(at::Tensor& student, const SparseSignal& signal, std::size_t begin,
                                         const at::Tensor& labels, std::int64_t tokens_in_step) const {
  RETORT_CHECK(signal.slots > 0 || mix_.weight(Term::kForwardKl) == 0);
  const std::int64_t rows = student.size(0), slots = static_cast<std::int64_t>(signal.slots);
  at::Tensor ids, weights, entropies;
  const void *id = nullptr, *weight = nullptr, *entropy = nullptr;
  if (slots > 0) {
    ids = on_device(signal.ids, begin * signal.slots, {rows, slots}, at::kInt);
    weights = on_device(signal.weights, begin * signal.slots, {rows, slots}, at::kFloat);
    id = ids.const_data_ptr();
    weight = weights.const_data_ptr();
    if (!signal.bucket) {
      entropies = on_device(signal.entropies, begin, {rows}, at::kFloat);
      entropy = entropies.const_data_ptr();
    }
  }
  at::Tensor result = at::empty({rows, 5}, student.options().dtype(at::kDouble));
  program_.launch(kept_rows_, {rows, 1, kThreads}, student.mutable_data_ptr(), id, weight, entropy,
                  static_cast<int>(slots), static_cast<int>(signal.bucket), labels.const_data_ptr(),
                  static_cast<int>(student.size(1)), arguments(tokens_in_step), result.mutable_data_ptr());
  return result;
}

LossSums CudaObjectiveRows::to_sums(const at::Tensor& summed, std::int64_t tokens) const {
  const at::Tensor fetched = summed.cpu();
  const auto* figure = fetched.const_data_ptr<double>();
  LossSums sums;
  sums.loss = figure[0] * mix_.factor();
  sums.kl = figure[1];
  sums.cross_entropy = figure[2];
  sums.tokens = tokens;
  sums.bad_student_rows = std::llround(figure[3]);
  sums.bad_teacher_rows = std::llround(figure[4]);
  return sums;
}

}  // namespace retort::train
