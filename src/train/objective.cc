#include "train/objective.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "train/bf16_values.h"
#include "train/kernels.h"
#include "train/objective_tensors.h"

namespace retort::train {

namespace {

ObjectiveMix forward_kl() {
  ObjectiveMix mix;
  mix.weight(Term::kForwardKl) = 1;
  return mix;
}

}  // namespace

Objective::Objective(std::int64_t vocabulary, std::int64_t chunk_rows, at::ScalarType dtype, const ObjectiveMix& data,
                     const ObjectiveMix& rollouts, model::Backend backend)
    : chunk_rows_(chunk_rows),
      dtype_(dtype),
      backend_(backend),
      data_(data, vocabulary),
      rollouts_(rollouts, vocabulary),
      measured_(forward_kl(), vocabulary) {
  RETORT_CHECK(dtype == at::kFloat || dtype == at::kBFloat16);
  RETORT_CHECK(chunk_rows > 0);
  const auto options = at::TensorOptions(dtype).device(backend == model::Backend::kCuda ? at::kCUDA : at::kCPU);
  student_logits_ = at::empty({chunk_rows, vocabulary}, options);
  if (backend != model::Backend::kCuda) return;
  for (Rows* rows : {&data_, &rollouts_, &measured_}) {
    // Where they can't be compiled (an old device), libtorch's operations do it.
    if (auto made = CudaObjectiveRows::make(rows->objective.mix(), dtype)) rows->on_cuda.emplace(std::move(*made));
  }
}

void Objective::Rows::add_late(const at::Tensor& of_rows) {
  const at::Tensor sums = of_rows.sum(0);
  late_sums = late_sums.defined() ? late_sums + sums : sums;
  late_tokens += of_rows.size(0);
}

at::Tensor Objective::labels_for(const Rows& rows, std::span<const TokenId> targets) {
  return rows.on_cuda ? CudaObjectiveRows::labels(targets) : at::Tensor();
}

LossSums Objective::on_logits(Rows& rows, at::Tensor& student, const at::Tensor& teacher,
                              std::span<const TokenId> targets, const at::Tensor& labels,
                              std::int64_t tokens_in_step) const {
  if (rows.on_cuda) {
    rows.add_late(rows.on_cuda->run(student, teacher, labels, tokens_in_step));
    return {};
  }
  if (backend_ != model::Backend::kKernels) {
    return rows_by_tensors(rows.objective.mix(), student, teacher, targets, tokens_in_step);
  }
  void* to = student.data_ptr();
  const void* from = teacher.const_data_ptr();
  if (dtype_ == at::kFloat) {
    return rows.objective.run(static_cast<float*>(to), static_cast<const float*>(from), targets, tokens_in_step);
  }
  return rows.objective.run(static_cast<Bf16*>(to), static_cast<const Bf16*>(from), targets, tokens_in_step);
}

LossSums Objective::on_logits(at::Tensor& student, const at::Tensor& teacher, std::span<const TokenId> targets,
                              std::int64_t tokens_in_step) {
  LossSums sums = on_logits(data_, student, teacher, targets, labels_for(data_, targets), tokens_in_step);
  return sums += take_sums(data_);
}

LossSums Objective::take_sums(Rows& rows) {
  if (!rows.late_sums.defined()) return {};
  const LossSums sums = rows.on_cuda->to_sums(rows.late_sums, rows.late_tokens);
  rows.late_sums.reset();
  rows.late_tokens = 0;
  return sums;
}

LossSums Objective::take_sums(RowSource source) { return take_sums(source == RowSource::kData ? data_ : rollouts_); }

LossSums Objective::chunk(Rows& rows, std::int64_t begin, std::int64_t count, const at::Tensor& student_hidden,
                          const at::Tensor& student_head, const at::Tensor& teacher_hidden,
                          const at::Tensor& teacher_head, std::span<const TokenId> targets, const at::Tensor& labels,
                          std::int64_t tokens_in_step) {
  if (!teacher_logits_.defined()) teacher_logits_ = at::empty_like(student_logits_);  // a kept signal needs none
  at::Tensor student = student_logits_.narrow(0, 0, count);
  at::Tensor teacher = teacher_logits_.narrow(0, 0, count);
  at::mm_out(student, student_hidden.narrow(0, begin, count), student_head.t());
  at::mm_out(teacher, teacher_hidden.narrow(0, begin, count), teacher_head.t());
  return on_logits(rows, student, teacher,
                   targets.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count)),
                   labels.defined() ? labels.narrow(0, begin, count) : labels, tokens_in_step);
}

void Objective::to_hidden_and_head(std::int64_t begin, std::int64_t count, const at::Tensor& student_hidden,
                                   const at::Tensor& student_head, at::Tensor& hidden_gradient,
                                   at::Tensor& head_gradient, bool overwrites_head) {
  const at::Tensor gradient = student_logits_.narrow(0, 0, count);
  at::Tensor hidden = hidden_gradient.narrow(0, begin, count);
  at::mm_out(hidden, gradient, student_head);
  if (!head_gradient.defined()) return;
  RETORT_CHECK(head_gradient.scalar_type() == at::kFloat);
  const at::Tensor chunk_hidden = student_hidden.narrow(0, begin, count);
  const bool in_parts = dtype_ == at::kBFloat16 && backend_ == model::Backend::kKernels;
  if (overwrites_head && !in_parts) head_gradient.zero_();
  if (dtype_ == at::kFloat) {
    head_gradient.addmm_(gradient.t(), chunk_hidden);
    return;
  }
  if (backend_ == model::Backend::kCuda) {
    at::addmm_out(head_gradient, head_gradient, gradient.t(), chunk_hidden, at::kFloat);  // never rounded to BF16
    return;
  }
  if (!in_parts) {
    head_gradient.add_(at::mm(gradient.t(), chunk_hidden));
    return;
  }
  // In parts that stay in the processor's caches until they are added.
  const std::int64_t vocabulary = head_gradient.size(0), width = head_gradient.size(1);
  if (!head_product_.defined()) head_product_ = at::empty({std::min(kHeadRows, vocabulary), width}, gradient.options());
  for (std::int64_t row = 0; row < vocabulary; row += kHeadRows) {
    const std::int64_t count_here = std::min(kHeadRows, vocabulary - row);
    at::Tensor part = head_product_.narrow(0, 0, count_here);
    at::mm_out(part, gradient.narrow(1, row, count_here).t(), chunk_hidden);
    const at::Tensor sum = head_gradient.narrow(0, row, count_here);
    overwrites_head ? copy_values(part, sum) : add_values(part, sum);
  }
}

LossSums Objective::backward(RowSource source, const at::Tensor& student_hidden, const at::Tensor& student_head,
                             const at::Tensor& teacher_hidden, const at::Tensor& teacher_head,
                             std::span<const TokenId> targets, std::int64_t tokens_in_step, at::Tensor& hidden_gradient,
                             at::Tensor& head_gradient, bool overwrites_head) {
  const at::NoGradGuard no_gradient;
  RETORT_CHECK(tokens_in_step > 0);
  const auto total = static_cast<std::int64_t>(targets.size());
  Rows& rows = source == RowSource::kData ? data_ : rollouts_;
  const at::Tensor labels = labels_for(rows, targets);
  LossSums sums;
  for (std::int64_t begin = 0; begin < total; begin += chunk_rows_) {
    const std::int64_t count = std::min(chunk_rows_, total - begin);
    sums += chunk(rows, begin, count, student_hidden, student_head, teacher_hidden, teacher_head, targets, labels,
                  tokens_in_step);
    to_hidden_and_head(begin, count, student_hidden, student_head, hidden_gradient, head_gradient,
                       overwrites_head && begin == 0);
  }
  return sums;
}

LossSums Objective::backward(const at::Tensor& student_hidden, const at::Tensor& student_head,
                             const SparseSignal& signal, std::span<const TokenId> targets, std::int64_t tokens_in_step,
                             at::Tensor& hidden_gradient, at::Tensor& head_gradient, bool overwrites_head) {
  const at::NoGradGuard no_gradient;
  RETORT_CHECK(tokens_in_step > 0);
  const auto total = static_cast<std::int64_t>(targets.size());
  const at::Tensor labels = labels_for(data_, targets);
  LossSums sums;
  for (std::int64_t begin = 0; begin < total; begin += chunk_rows_) {
    const std::int64_t count = std::min(chunk_rows_, total - begin);
    at::Tensor student = student_logits_.narrow(0, 0, count);
    at::mm_out(student, student_hidden.narrow(0, begin, count), student_head.t());
    const auto first = static_cast<std::size_t>(begin);
    const at::Tensor chunk_labels = labels.defined() ? labels.narrow(0, begin, count) : labels;
    sums += on_logits(student, signal, first, targets.subspan(first, static_cast<std::size_t>(count)), chunk_labels,
                      tokens_in_step);
    to_hidden_and_head(begin, count, student_hidden, student_head, hidden_gradient, head_gradient,
                       overwrites_head && begin == 0);
  }
  return sums;
}

LossSums Objective::on_logits(at::Tensor& student, const SparseSignal& signal, std::size_t begin,
                              std::span<const TokenId> targets, const at::Tensor& labels, std::int64_t tokens_in_step) {
  if (data_.on_cuda) {
    data_.add_late(data_.on_cuda->run_sparse(student, signal, begin, labels, tokens_in_step));
    return {};
  }
  if (backend_ != model::Backend::kKernels) {
    return sparse_rows_by_tensors(data_.objective.mix(), student, signal, begin, targets, tokens_in_step);
  }
  void* logits = student.data_ptr();
  return dtype_ == at::kFloat
             ? data_.objective.run_sparse(static_cast<float*>(logits), signal, begin, targets, tokens_in_step)
             : data_.objective.run_sparse(static_cast<Bf16*>(logits), signal, begin, targets, tokens_in_step);
}

LossSums Objective::on_logits(at::Tensor& student, const SparseSignal& signal, std::span<const TokenId> targets,
                              std::int64_t tokens_in_step) {
  const at::NoGradGuard no_gradient;
  LossSums sums = on_logits(student, signal, 0, targets, labels_for(data_, targets), tokens_in_step);
  return sums += take_sums(data_);
}

LossSums Objective::measure(const at::Tensor& student_hidden, const at::Tensor& student_head,
                            const at::Tensor& teacher_hidden, const at::Tensor& teacher_head,
                            std::span<const TokenId> targets, const VisitLogits& visit) {
  const at::NoGradGuard no_gradient;
  const auto total = static_cast<std::int64_t>(targets.size());
  const at::Tensor labels = labels_for(measured_, targets);
  LossSums sums;
  for (std::int64_t begin = 0; begin < total; begin += chunk_rows_) {
    const std::int64_t count = std::min(chunk_rows_, total - begin);
    sums +=
        chunk(measured_, begin, count, student_hidden, student_head, teacher_hidden, teacher_head, targets, labels, 0);
    if (visit) visit(begin, student_logits_.narrow(0, 0, count).cpu(), teacher_logits_.narrow(0, 0, count).cpu());
  }
  return sums += take_sums(measured_);
}

std::int64_t Objective::bytes() const {
  std::int64_t sum = static_cast<std::int64_t>(student_logits_.nbytes()) +
                     (teacher_logits_.defined() ? static_cast<std::int64_t>(teacher_logits_.nbytes()) : 0) +
                     data_.objective.bytes() + rollouts_.objective.bytes() + measured_.objective.bytes();
  if (head_product_.defined()) sum += static_cast<std::int64_t>(head_product_.nbytes());
  return sum;
}

}  // namespace retort::train
