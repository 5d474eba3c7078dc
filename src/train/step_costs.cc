#include "train/step_costs.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <new>
#include <vector>

#include "model/decoder.h"
#include "train/hidden_states.h"
#include "train/random_model.h"
#include "train/step_plan.h"

namespace retort::train {
namespace {

constexpr std::int64_t kLayers = 4;          // so that hidden states between layers are there to be matched
constexpr std::int64_t kVocabulary = 16384;  // a slice of a head shows its speed
constexpr std::int64_t kTokens = 1024;       // of a step, at most
constexpr std::size_t kPrepared = 2;         // steps that fetch memory and prepare kernels
constexpr std::size_t kTimed = 12;           // at most
constexpr std::size_t kTimedAtLeast = 2;
constexpr double kBudget_s = 2;
constexpr std::int64_t kMost_bytes = 2'000'000'000;

model::DecoderConfig slice_of(const model::DecoderConfig& config, std::int64_t layers) {
  model::DecoderConfig slice = with_layers(config, layers);
  slice.vocabulary = std::min(config.vocabulary, kVocabulary);
  return slice;
}

// Of a step, the optimiser's four numbers a parameter and the teacher's weights.
std::int64_t bytes_of(const model::DecoderConfig& student, const model::DecoderConfig& teacher) {
  return 16 * model::parameter_count(student) + 4 * model::parameter_count(teacher);
}

Result<std::optional<StepCosts>> measure(const model::DecoderConfig& student, const model::DecoderConfig& teacher,
                                         TrainOptions options, const ComputedIn& computed_in, const Clock& clock) {
  std::int64_t layers = std::min({kLayers, student.layers, teacher.layers});
  while (layers > 1 && bytes_of(slice_of(student, layers), slice_of(teacher, layers)) > kMost_bytes) layers /= 2;
  const model::DecoderConfig small_student = slice_of(student, layers);
  const model::DecoderConfig small_teacher = slice_of(teacher, layers);
  if (bytes_of(small_student, small_teacher) > kMost_bytes || small_student.vocabulary != small_teacher.vocabulary) {
    return std::optional<StepCosts>();
  }
  options.signal = "online";
  options.on_policy_from = 1;
  options.teacher_states_mb = 0;
  if (!check_hidden_states(small_teacher, small_student)) options.hidden_state_weight = 0;
  options.tokens_per_step = std::min(options.tokens_per_step, kTokens);
  options.tokens =
      std::max(options.tokens_per_step, options.max_length) * static_cast<std::int64_t>(kPrepared + kTimed + 1);
  const auto longest = static_cast<std::size_t>(options.max_length);
  const std::vector<dataset::Example> examples =
      random_examples(options.tokens, small_teacher.vocabulary, std::max<std::size_t>(2, longest / 4), longest);
  StepPlan plan(examples, options);
  RETORT_ASSIGN(const model::Decoder teaches, random_decoder(small_teacher, computed_in.type, computed_in.backend));
  RETORT_ASSIGN(model::Decoder learns,
                random_decoder(small_student, model::ComputeType::kFloat32, model::Backend::kKernels));
  StepRunner runner(teaches, std::move(learns), options, clock);
  runner.wait_in_every_phase(true);
  const auto per_layer = static_cast<double>(layers);
  const auto trained = static_cast<double>(trained_parameter_count(small_student, options));
  // Of each part the best: what the machine can, whatever else it did meanwhile.
  constexpr double kNever_s = std::numeric_limits<double>::infinity();
  StepCosts best{kNever_s, kNever_s, kNever_s, kNever_s, kNever_s};
  const auto keep_best = [](double& value, double seconds) { value = std::min(value, seconds); };
  RETORT_CHECK(plan.steps().size() >= kPrepared + kTimed);
  const double began_s = clock.monotonic_s();
  for (std::size_t i = 0; i < kPrepared + kTimed; ++i) {
    if (i >= kPrepared + kTimedAtLeast && clock.monotonic_s() - began_s > kBudget_s) break;
    const StepPhases before = runner.phases();
    RETORT_ASSIGN(const StepResult done, runner.step({plan.rows(i), {}}, 1e-4));
    static_cast<void>(done);
    if (i < kPrepared) continue;
    const StepPhases spent = runner.phases() - before;
    const auto tokens = static_cast<double>(plan.steps()[i].tokens);
    keep_best(best.teacher_layer_s, spent.teacher_s / tokens / per_layer);
    keep_best(best.student_layer_s, spent.forward_s / tokens / per_layer);
    keep_best(best.backward_layer_s, spent.backward_s / tokens / per_layer);
    keep_best(best.heads_s, spent.head_s / static_cast<double>(plan.steps()[i].targets));
    keep_best(best.parameter_s, spent.optimiser_s / trained);
  }
  best.heads_s *= static_cast<double>(student.vocabulary) / static_cast<double>(small_student.vocabulary);
  return best;
}

}  // namespace

Result<std::optional<StepCosts>> measure_step_costs(const model::DecoderConfig& student,
                                                    const model::DecoderConfig& teacher, const TrainOptions& options,
                                                    const ComputedIn& computed_in, const Clock& clock) {
  try {
    return measure(student, teacher, options, computed_in, clock);
  } catch (const std::bad_alloc&) {
    return std::optional<StepCosts>();
  } catch (const c10::Error&) {  // a GPU's memory is out
    return std::optional<StepCosts>();
  }
}

}  // namespace retort::train
