#include "train/estimate.h"

#include <algorithm>

namespace retort::train {

TrainCost estimate(std::int64_t student_parameters, std::int64_t teacher_parameters, std::int64_t head_parameters,
                   std::int64_t vocabulary, std::int64_t dataset_tokens, const TrainOptions& options,
                   double flops_per_s) {
  const auto student = static_cast<double>(student_parameters);
  const auto teacher = static_cast<double>(teacher_parameters);
  TrainCost cost;
  const bool frozen = options.embedding_rate == 0;
  cost.tokens = options.tokens > 0 ? options.tokens : dataset_tokens * options.epochs;
  cost.steps = std::max<std::int64_t>(1, (cost.tokens + options.tokens_per_step - 1) / options.tokens_per_step);
  // Kept states save the teacher's layers from the second pass on; its head is applied in every pass. Whether they fit
  // is taken for granted.
  const bool kept = options.teacher_states_mb > 0 && options.hidden_state_weight == 0;
  const auto head = static_cast<double>(head_parameters);
  const double tokens = static_cast<double>(std::max<std::int64_t>(1, cost.tokens));
  const double read = kept ? std::min(1.0, static_cast<double>(dataset_tokens) / tokens) : 1.0;
  cost.flops_per_token = 6.0 * student - (frozen ? 2.0 * head : 0) + 2.0 * (read * (teacher - head) + head);
  cost.flops = cost.flops_per_token * static_cast<double>(cost.tokens);
  cost.seconds = flops_per_s > 0 ? cost.flops / flops_per_s : 0;

  const std::int64_t width = options.compute == "fp32" ? 4 : 2;
  // Master, two moments and gradient in FP32, and the copy that is computed with. A frozen head has master and copy.
  const std::int64_t student_bytes =
      student_parameters * (16 + (width == 2 ? 2 : 0)) - (frozen ? head_parameters * 12 : 0);
  const std::int64_t logits = 2 * options.head_rows * vocabulary * width;
  // Activations kept for the backward pass: about 0.5 MB a token for 135M parameters and 30 layers in bf16 (assumed).
  const std::int64_t activations =
      std::min(options.micro_batch_tokens, options.tokens_per_step) * (student_parameters / 300) * width / 2;
  constexpr std::int64_t kProgram = 250'000'000;  // libtorch itself, code and pools
  cost.memory_bytes = kProgram + student_bytes + teacher_parameters * width + logits + activations;
  cost.disk_bytes = student_parameters * 4 * 4;
  return cost;
}

}  // namespace retort::train
