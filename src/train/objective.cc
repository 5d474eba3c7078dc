#include "train/objective.h"

#include <ATen/Parallel.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>

#include <algorithm>

#include "base/error.h"
#include "train/kernels.h"

namespace retort::train {

LossSums& LossSums::operator+=(const LossSums& other) {
  kl += other.kl;
  cross_entropy += other.cross_entropy;
  tokens += other.tokens;
  return *this;
}

ForwardKl::ForwardKl(std::int64_t vocabulary, std::int64_t chunk_rows, at::ScalarType dtype,
                     double cross_entropy_weight)
    : vocabulary_(vocabulary), chunk_rows_(chunk_rows), dtype_(dtype), cross_entropy_weight_(cross_entropy_weight) {
  RETORT_CHECK(dtype == at::kFloat || dtype == at::kBFloat16);
  RETORT_CHECK(vocabulary > 0 && chunk_rows > 0);
  student_logits_ = at::empty({chunk_rows, vocabulary}, at::TensorOptions(dtype));
  teacher_logits_ = at::empty({chunk_rows, vocabulary}, at::TensorOptions(dtype));
  row_kl_.resize(static_cast<std::size_t>(chunk_rows));
  row_cross_entropy_.resize(static_cast<std::size_t>(chunk_rows));
  scratch_.resize(row_scratch(static_cast<std::size_t>(vocabulary)) * static_cast<std::size_t>(at::get_num_threads()));
}

LossSums ForwardKl::rows(std::int64_t begin, std::int64_t count, const at::Tensor& student_hidden,
                         const at::Tensor& student_head, const at::Tensor& teacher_hidden,
                         const at::Tensor& teacher_head, std::span<const TokenId> targets, double scale,
                         bool gradient) {
  at::Tensor student = student_logits_.narrow(0, 0, count);
  at::Tensor teacher = teacher_logits_.narrow(0, 0, count);
  at::mm_out(student, student_hidden.narrow(0, begin, count), student_head.t());
  at::mm_out(teacher, teacher_hidden.narrow(0, begin, count), teacher_head.t());

  const auto n = static_cast<std::size_t>(vocabulary_);
  RowWeights weights;
  weights.kl = static_cast<float>(1.0 - cross_entropy_weight_);
  weights.cross_entropy = static_cast<float>(cross_entropy_weight_);
  weights.scale = static_cast<float>(scale);
  const Kernels& kernel = kernels();
  void* student_data = student.data_ptr();
  const void* teacher_data = teacher.const_data_ptr();
  const std::size_t scratch_size = row_scratch(n);
  // at::get_num_threads() may have grown since; a thread without scratch of its own makes one.
  at::parallel_for(0, count, 1, [&](std::int64_t first, std::int64_t last) {
    const auto thread = static_cast<std::size_t>(at::get_thread_num());
    std::vector<float> own;
    float* scratch = scratch_.data() + thread * scratch_size;
    if ((thread + 1) * scratch_size > scratch_.size()) {
      own.resize(scratch_size);
      scratch = own.data();
    }
    for (std::int64_t row = first; row < last; ++row) {
      const std::size_t offset = static_cast<std::size_t>(row) * n;
      const TokenId target = targets[static_cast<std::size_t>(begin + row)];
      const RowLoss loss = dtype_ == at::kFloat ? kernel.kl_row_f32(static_cast<float*>(student_data) + offset,
                                                                    static_cast<const float*>(teacher_data) + offset, n,
                                                                    target, weights, gradient, scratch)
                                                : kernel.kl_row_bf16(static_cast<Bf16*>(student_data) + offset,
                                                                     static_cast<const Bf16*>(teacher_data) + offset, n,
                                                                     target, weights, gradient, scratch);
      row_kl_[static_cast<std::size_t>(row)] = loss.kl;
      row_cross_entropy_[static_cast<std::size_t>(row)] = loss.cross_entropy;
    }
  });
  // Summed in the order of the rows, so that the number of threads doesn't show.
  LossSums sums;
  for (std::int64_t row = 0; row < count; ++row) {
    sums.kl += row_kl_[static_cast<std::size_t>(row)];
    sums.cross_entropy += row_cross_entropy_[static_cast<std::size_t>(row)];
  }
  sums.tokens = count;
  return sums;
}

LossSums ForwardKl::backward(const at::Tensor& student_hidden, const at::Tensor& student_head,
                             const at::Tensor& teacher_hidden, const at::Tensor& teacher_head,
                             std::span<const TokenId> targets, std::int64_t tokens_in_step, at::Tensor& hidden_gradient,
                             at::Tensor& head_gradient) {
  const at::NoGradGuard no_gradient;
  RETORT_CHECK(tokens_in_step > 0);
  RETORT_CHECK(!head_gradient.defined() || head_gradient.scalar_type() == at::kFloat);
  const auto total = static_cast<std::int64_t>(targets.size());
  LossSums sums;
  for (std::int64_t begin = 0; begin < total; begin += chunk_rows_) {
    const std::int64_t count = std::min(chunk_rows_, total - begin);
    sums += rows(begin, count, student_hidden, student_head, teacher_hidden, teacher_head, targets,
                 1.0 / static_cast<double>(tokens_in_step), true);
    const at::Tensor gradient = student_logits_.narrow(0, 0, count);
    at::Tensor hidden = hidden_gradient.narrow(0, begin, count);
    at::mm_out(hidden, gradient, student_head);
    if (!head_gradient.defined()) continue;
    const at::Tensor chunk_hidden = student_hidden.narrow(0, begin, count);
    if (dtype_ == at::kFloat) {
      head_gradient.addmm_(gradient.t(), chunk_hidden);
      continue;
    }
    if (!head_product_.defined()) head_product_ = at::empty_like(student_head);
    at::mm_out(head_product_, gradient.t(), chunk_hidden);
    float* sum = head_gradient.mutable_data_ptr<float>();
    const auto* product = static_cast<const Bf16*>(head_product_.const_data_ptr());
    at::parallel_for(0, head_product_.numel(), 1 << 16, [&](std::int64_t first, std::int64_t last) {
      kernels().add_bf16(sum + first, product + first, static_cast<std::size_t>(last - first));
    });
  }
  return sums;
}

LossSums ForwardKl::measure(const at::Tensor& student_hidden, const at::Tensor& student_head,
                            const at::Tensor& teacher_hidden, const at::Tensor& teacher_head,
                            std::span<const TokenId> targets) {
  const at::NoGradGuard no_gradient;
  const auto total = static_cast<std::int64_t>(targets.size());
  LossSums sums;
  for (std::int64_t begin = 0; begin < total; begin += chunk_rows_) {
    sums += rows(begin, std::min(chunk_rows_, total - begin), student_hidden, student_head, teacher_hidden,
                 teacher_head, targets, 0, false);
  }
  return sums;
}

std::int64_t ForwardKl::bytes() const {
  std::int64_t sum = static_cast<std::int64_t>(student_logits_.nbytes() + teacher_logits_.nbytes()) +
                     static_cast<std::int64_t>(scratch_.size() * sizeof(float));
  if (head_product_.defined()) sum += static_cast<std::int64_t>(head_product_.nbytes());
  return sum;
}

}  // namespace retort::train
