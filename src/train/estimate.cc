#include "train/estimate.h"

#include <algorithm>
#include <cmath>

#include "model/adapters.h"
#include "train/lora.h"
#include "train/objective.h"

namespace retort::train {
namespace {

// N in the literature: parameters of matrix products, head included (a tied head counts once for the product).
double product_parameters(const model::DecoderConfig& config) {
  return static_cast<double>(model::matmul_parameter_count(config));
}

std::int64_t width_of(model::ComputeType compute) { return compute == model::ComputeType::kFloat32 ? 4 : 2; }

// Of the adapters, where they are trained.
std::int64_t adapters_of(const model::DecoderConfig& student, const TrainOptions& options) {
  return trains_adapters(options) ? model::adapter_parameter_count(student, adapter_config(options)) : 0;
}

bool keeps_states(const TrainOptions& options) {
  const bool online = options.signal == "online" || options.signal == "auto";
  return options.teacher_states_mb > 0 && options.hidden_state_weight == 0 && online;
}

// Of the tokens, how many the teacher's layers and its head read.
struct TeacherShare {
  double layers = 1;
  double head = 1;
};

// The student's own answers: in a round of them the weights are read once for every token of the longest. AdamW says
// how fast memory is: it reads master, moments and gradient, and writes all but the last and the copy.
double rollouts_s(const StepCosts& costs, const TrainCost& cost, const model::DecoderConfig& student,
                  const TrainOptions& options) {
  if (options.on_policy_from >= 1) return 0;
  constexpr double kUpdateBytes = 30;
  constexpr double kCopyBytes = 2;
  const double on_policy = 1 - options.on_policy_from;
  const double rounds =
      std::ceil(static_cast<double>(cost.steps) * on_policy / static_cast<double>(options.rollout_every));
  const double weights_s = product_parameters(student) * costs.parameter_s * kCopyBytes / kUpdateBytes;
  const double answered = static_cast<double>(cost.tokens) * on_policy * options.on_policy_share;
  return rounds * static_cast<double>(options.rollout_tokens) * weights_s +
         answered * static_cast<double>(student.layers) * costs.student_layer_s;
}

// Steps, and what is measured between them. Every token is taken for supervised.
double seconds_of(const StepCosts& costs, const TrainCost& cost, const model::DecoderConfig& student,
                  const model::DecoderConfig& teacher, const TrainOptions& options, const TeacherShare& share) {
  // Of the heads' products, in forward products of one: the teacher's, the student's, the gradients.
  const bool frozen = options.embedding_rate == 0 || trains_adapters(options);
  const double student_head = frozen ? 2 : 3;
  const double head_share = (share.head + student_head) / (1 + student_head);
  const auto layers = static_cast<double>(student.layers);
  const double teacher_s = costs.teacher_layer_s * static_cast<double>(teacher.layers);
  const double token_s =
      share.layers * teacher_s + layers * (costs.student_layer_s + costs.backward_layer_s) + head_share * costs.heads_s;
  const auto steps = static_cast<double>(cost.steps);
  const double training_s = static_cast<double>(cost.tokens) * token_s +
                            steps * static_cast<double>(trained_parameter_count(student, options)) * costs.parameter_s;
  const double measurements =
      1 + (options.held_out_every > 0 ? std::ceil(steps / static_cast<double>(options.held_out_every)) : 1);
  const double without_gradients = 2 / (1 + student_head);
  const double measured_s =
      teacher_s + measurements * (layers * costs.student_layer_s + without_gradients * costs.heads_s);
  return training_s + static_cast<double>(options.held_out_tokens) * measured_s +
         rollouts_s(costs, cost, student, options);
}

}  // namespace

std::int64_t trained_parameter_count(const model::DecoderConfig& student, const TrainOptions& options) {
  if (trains_adapters(options)) return adapters_of(student, options);
  const std::int64_t embeddings = student.vocabulary * student.hidden * (student.tied_head ? 1 : 2);
  return model::parameter_count(student) - (options.embedding_rate == 0 ? embeddings : 0);
}

TrainMemory training_memory(const model::DecoderConfig& student, const model::DecoderConfig& teacher,
                            const ComputedIn& computed_in, const TrainOptions& options, std::int64_t dataset_tokens) {
  const std::int64_t width = width_of(computed_in.type);
  const std::int64_t adapters = adapters_of(student, options);
  const bool frozen = options.embedding_rate == 0 || adapters > 0;
  const std::int64_t head = student.vocabulary * student.hidden;
  const std::int64_t all = model::parameter_count(student);
  const std::int64_t trained = trained_parameter_count(student, options);
  // Of what is computed with and is neither the master nor its upper half.
  const std::int64_t copy = width == 2 && computed_in.backend != model::Backend::kKernels ? 2 : 0;
  TrainMemory memory;
  // FP32 master, the copy that is computed with where it is another, two moments.
  const std::int64_t moments = options.optimiser_bits == 8 ? 2 * trained + 2 * trained / 64 : 8 * trained;
  memory.student = (adapters > 0 ? all * width + adapters * (4 + copy) : all * (4 + copy)) + moments;
  // Gradients are FP32 where they are sums: of micro-batches, and of what embedding and head are given.
  const bool single = computed_in.backend == model::Backend::kKernels && options.on_policy_from >= 1 &&
                      options.tokens_per_step <= options.micro_batch_tokens;
  const std::int64_t summed = !single ? trained : frozen ? 0 : head * (student.tied_head ? 1 : 2);
  memory.student += 4 * summed + width * (trained - summed);
  if (adapters > 0) memory.starting = all * (4 + width) + adapters * (12 + copy);
  memory.teacher = model::parameter_count(teacher) * width;
  memory.logits =
      2 * options.head_rows * student.vocabulary * width +
      (width == 2 && !frozen ? std::min(Objective::kHeadRows, student.vocabulary) * student.hidden * width : 0);

  const std::int64_t tokens = std::min(options.micro_batch_tokens, options.tokens_per_step);
  const std::int64_t queries = student.heads * student.head_dim;
  const std::int64_t projections = queries + 2 * student.kv_heads * student.head_dim;
  // As model/block.cc keeps it: input, projections, attention's output, the state between the halves, gate and up; the
  // rows' scales and attention's log sums in FP32.
  const std::int64_t input = width * student.hidden;
  const std::int64_t block =
      2 * input + width * (projections + queries + 2 * student.intermediate) + 8 + 4 * student.heads;
  const std::int64_t kept = options.recompute == "blocks" ? student.layers * input + block : student.layers * block;
  // At the turn of the passes: two states, their gradients and the teacher's; in a block's backward pass the rows it
  // works out again, and the gradients of its weights before they are added up.
  const std::int64_t passing = width * (4 * student.hidden + teacher.hidden + student.intermediate);
  const std::int64_t layer_weights =
      adapters > 0 ? adapters / student.layers : (all - head * (student.tied_head ? 1 : 2)) / student.layers;
  memory.activations = tokens * (kept + passing) + layer_weights * width;

  if (options.hidden_state_weight > 0) {
    memory.teacher_states = tokens * width * 2 * (student.layers - 1) * teacher.hidden;
  } else if (keeps_states(options) && (options.tokens > dataset_tokens || options.epochs > 1)) {
    const std::int64_t states = dataset_tokens * teacher.hidden * width;
    if (states <= options.teacher_states_mb * 1'000'000) memory.teacher_states = states;
  }
  return memory;
}

TrainCost estimate(const model::DecoderConfig& student_config, const model::DecoderConfig& teacher_config,
                   const ComputedIn& computed_in, std::int64_t dataset_tokens, const TrainOptions& options,
                   const TrainSpeed& speed) {
  const double student = product_parameters(student_config);
  const double teacher = product_parameters(teacher_config);
  const auto head = static_cast<double>(teacher_config.vocabulary * teacher_config.hidden);
  const auto student_head = static_cast<double>(student_config.vocabulary * student_config.hidden);
  TrainCost cost;
  const std::int64_t adapters = adapters_of(student_config, options);
  const bool frozen = options.embedding_rate == 0;
  cost.tokens = options.tokens > 0 ? options.tokens : dataset_tokens * options.epochs;
  cost.steps = std::max<std::int64_t>(1, (cost.tokens + options.tokens_per_step - 1) / options.tokens_per_step);
  // Kept states save the teacher's layers from the second pass on; its head is applied in every pass. Whether they fit
  // is taken for granted.
  const double tokens = static_cast<double>(std::max<std::int64_t>(1, cost.tokens));
  const double once = std::min(1.0, static_cast<double>(dataset_tokens) / tokens);
  // A kept signal asks the teacher's layers and head once; text, and what was told with it, never.
  TeacherShare share{keeps_states(options) ? once : 1.0, 1.0};
  if (reads_signal(options)) share = {once, once};
  if (options.signal == "text" || options.signal == "logprobs") share = {0, 0};
  const double teacher_flops = 2.0 * (share.layers * (teacher - head) + share.head * head);
  cost.flops_per_token = 6.0 * student - (frozen ? 2.0 * student_head : 0) + teacher_flops;
  // No gradients of frozen matrices.
  if (adapters > 0) cost.flops_per_token = 4.0 * student + 6.0 * static_cast<double>(adapters) + teacher_flops;
  if (options.recompute == "blocks") cost.flops_per_token += 2.0 * (student - student_head);
  cost.flops = cost.flops_per_token * static_cast<double>(cost.tokens);
  if (speed.costs) {
    cost.seconds = seconds_of(*speed.costs, cost, student_config, teacher_config, options, share);
  } else if (speed.flops_per_s > 0) {
    cost.seconds = cost.flops / speed.flops_per_s;
  }
  cost.memory = training_memory(student_config, teacher_config, computed_in, options, dataset_tokens);
  // Masters in the student's file; masters and moments in each checkpoint, of which one more is there while it is
  // written.
  const std::int64_t parameters = model::parameter_count(student_config);
  const std::int64_t state = (adapters > 0 ? adapters : parameters) * (options.optimiser_bits == 8 ? 6 : 12);
  cost.disk_bytes = (parameters + adapters) * 4 + state * (options.keep_checkpoints + 1);
  if (reads_signal(options)) cost.disk_bytes += dataset_tokens * 48;  // about; every token taken for supervised
  return cost;
}

}  // namespace retort::train
