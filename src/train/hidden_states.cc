#include "train/hidden_states.h"

#include <torch/torch.h>

#include <utility>

namespace retort::train {

Result<void> check_hidden_states(const model::DecoderConfig& teacher, const model::DecoderConfig& student) {
  if (model::is_cut_of(student, teacher)) return {};
  return caller_error(
      "train.hidden_state_weight compares the student's layers with those of the teacher they were cut from, but this "
      "student is no cut of this teacher. Set it to 0.");
}

HiddenTargets hidden_targets(const model::Decoder& teacher, const model::DecoderConfig& student,
                             const model::TokenBatch& batch) {
  const torch::NoGradGuard no_gradient;
  HiddenTargets result;
  const auto& sources = student.source_layers;
  std::size_t next = 1;
  result.final = teacher.forward(batch, [&](std::int64_t layer, const at::Tensor& input, const at::Tensor&) {
    if (next >= sources.size() || sources[next] != layer) return;
    result.targets.push_back(input);
    ++next;
  });
  return result;
}

at::Tensor hidden_state_gradient(const at::Tensor& state, const at::Tensor& target, const at::Tensor& counted,
                                 double weight, std::int64_t tokens_in_step, double& error) {
  const torch::NoGradGuard no_gradient;
  const at::Tensor to = target.to(at::kFloat);
  at::Tensor difference = state.to(at::kFloat).sub(to);
  if (counted.defined()) difference.mul_(counted);
  const at::Tensor length = to.square().sum(1, true).clamp_min_(1e-12);
  error += (difference.square().sum(1, true) / length).sum(at::kDouble).item<double>();
  difference.div_(length).mul_(2.0 * weight / static_cast<double>(tokens_in_step));
  return difference.to(state.scalar_type());
}

}  // namespace retort::train
