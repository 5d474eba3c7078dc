#include "pipeline/plan_rates.h"

#include <algorithm>
#include <utility>

#include "gguf/tensor_type.h"
#include "pipeline/measured_models.h"
#include "pipeline/teacher_type.h"

namespace retort::pipeline {
namespace {

constexpr double kGuessedShare = 0.4;  // of F16's rate in that of the fastest type, where not measured

}  // namespace

Result<PlanRates> measure_rates(const LocalModel& local, std::size_t parallel, std::size_t context,
                                const SamplingOptions& sampling, const std::filesystem::path& cache_folder,
                                const Clock& clock, Progress& progress, const std::stop_token& stop) {
  RETORT_ASSIGN(const llama::TypeProbe probe, fastest_type_once(local, cache_folder, clock, progress, stop));
  PlanRates rates;
  RETORT_ASSIGN(rates.collecting, llama::measure_work(probe.fastest.path, parallel, context, sampling, 0, clock, stop));
  if (model::parameter_count(local.config) > kComputedParameters) {
    rates.reference = {kGuessedShare * rates.collecting.decode_tokens_per_s,
                       kGuessedShare * rates.collecting.read_tokens_per_s};
    return rates;
  }
  std::filesystem::path reference = local.file.path();
  if (!is_its_own_reference(local)) {
    RETORT_ASSIGN(reference, converted_copy(local, gguf::TensorType::kF16, cache_folder));
  }
  RETORT_ASSIGN(rates.reference,
                llama::measure_work(reference, std::min(parallel, kAnswersAtOnce), context, sampling, 0, clock, stop));
  return rates;
}

}  // namespace retort::pipeline
