#include "pipeline/train_prediction.h"

#include <algorithm>
#include <vector>

#include "model/kl_judge.h"
#include "model/layer_choice.h"
#include "model/layer_fit.h"
#include "pipeline/run_options.h"
#include "pipeline/student_start.h"
#include "pipeline/teacher.h"
#include "train/step_costs.h"
#include "train/train_options.h"

namespace retort::pipeline {
namespace {

// libtorch and llama.cpp, their code and pools, before anything is loaded, and the products that oneDNN prepares
// (measured with AMX; without it 300 MB were).
constexpr std::int64_t kProgram_bytes = 450'000'000;
// CUDA's libraries and context (measured).
constexpr std::int64_t kCuda_bytes = 1'500'000'000;

// What the teacher's layers reach reading; choosing and fitting layers is little else.
double reading_flops_per_s(const model::DecoderConfig& teacher, const ComputeChoice& compute,
                           const std::optional<train::StepCosts>& costs) {
  if (!costs || costs->teacher_layer_s <= 0) return compute.block_gflops * 1e9 * train::kTrainEfficiency;
  const double layers = static_cast<double>(model::matmul_parameter_count(teacher)) -
                        static_cast<double>(teacher.vocabulary * teacher.hidden);
  return 2 * layers / static_cast<double>(teacher.layers) / costs->teacher_layer_s;
}

}  // namespace

Result<TrainPrediction> predict_training(const recipe::Recipe& recipe, const LocalModel& local,
                                         const ComputeChoice& compute, std::int64_t dataset_tokens,
                                         const Clock& clock) {
  auto options = recipe.get(train::train_option_set());
  const bool text_alone = gives_text_alone(recipe.get(run_option_set()).teacher);
  if (text_alone) options.signal = learns_from_logprobs(recipe) ? "logprobs" : "text";
  const auto student_options = recipe.get(student_option_set());
  RETORT_ASSIGN(const PlannedStudent planned, planned_student(recipe, local));
  const model::DecoderConfig& student = planned.config;
  use(compute);
  RETORT_ASSIGN(const std::optional<train::StepCosts> costs,
                train::measure_step_costs(student, local.config, options, {compute.type, compute.backend}, clock));
  const double flops_per_s = reading_flops_per_s(local.config, compute, costs);

  TrainPrediction prediction;
  prediction.timed = costs.has_value();
  prediction.cost = train::estimate(student, local.config, {compute.type, compute.backend}, dataset_tokens, options,
                                    {flops_per_s, costs});
  std::int64_t choosing_bytes = 0;
  if (!student_options.layers.is_list() && student_options.layers.count() > 0) {
    model::LayerChoiceOptions choice;
    RETORT_ASSIGN(choice.method, model::layer_method_from_name(student_options.layer_method));
    choice.keep = student_options.layers.count();
    choice.max_tokens = student_options.measured_tokens;
    if (flops_per_s > 0) prediction.layer_choice_s = model::layer_choice_flops(local.config, choice) / flops_per_s;
    choosing_bytes = prediction.cost.memory.teacher + model::layer_choice_bytes(local.config, choice, compute.type);
  }
  if (planned.fitted) {
    std::int64_t tokens = student_options.fit_tokens;
    if (dataset_tokens > 0) tokens = std::min(tokens, dataset_tokens);
    model::LayerFitRates rates = model::measure_layer_fit(student, compute.type, compute.backend, clock);
    rates.reading = flops_per_s;
    prediction.layer_fit_s = model::layer_fit_seconds(local.config, student, tokens, rates);
    // What judges the fit: probabilities, logits and what lies between them.
    const std::int64_t judging = 3 * model::KlJudge::kMostRows * student.vocabulary * 4;
    choosing_bytes =
        std::max(choosing_bytes, prediction.cost.memory.teacher + judging +
                                     model::parameter_count(student) * static_cast<std::int64_t>(sizeof(float)) +
                                     model::layer_fit_bytes(student, tokens, compute.type));
    prediction.start_bytes = model::parameter_count(student) * static_cast<std::int64_t>(sizeof(float));
  }
  // The local model is loaded for the choice and fit of layers alone, and gone when training begins.
  if (text_alone) prediction.cost.memory.teacher = 0;
  if (compute.backend == model::Backend::kCuda) {
    // In the process are the file, the student in FP32, and what CUDA itself takes.
    prediction.device_bytes = std::max(choosing_bytes, prediction.cost.memory.total());
    prediction.peak_bytes = kProgram_bytes + kCuda_bytes + static_cast<std::int64_t>(local.file.size_bytes()) +
                            model::parameter_count(student) * static_cast<std::int64_t>(sizeof(float));
    return prediction;
  }
  // The teacher's file is mapped, and its pages count once they are read.
  prediction.peak_bytes = kProgram_bytes + static_cast<std::int64_t>(local.file.size_bytes()) +
                          std::max(choosing_bytes, prediction.cost.memory.total());
  return prediction;
}

}  // namespace retort::pipeline
