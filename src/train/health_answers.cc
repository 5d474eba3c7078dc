#include "train/health_answers.h"

#include <algorithm>
#include <utility>

#include "base/random.h"
#include "model/torch_generator.h"

namespace retort::train {

HealthAnswers::HealthAnswers(std::span<const dataset::Example> held_out, const TrainOptions& options,
                             const SamplingOptions& sampling, std::span<const TokenId> end_ids,
                             std::size_t context_tokens)
    : sampling_(sampling), end_ids_(end_ids.begin(), end_ids.end()) {
  std::size_t limit = kHealthAnswerTokens;
  if (sampling.max_tokens > 0) limit = std::min(limit, static_cast<std::size_t>(sampling.max_tokens));
  sampling_.max_tokens = static_cast<std::int32_t>(limit);
  sampling_.seed = derive_seed(static_cast<std::uint64_t>(options.seed), "train.health_answers");
  std::vector<TokenCompletion> teachers;
  for (const dataset::Example& example : held_out) {
    if (prompts_.size() >= static_cast<std::size_t>(options.health_answers)) break;
    LastAnswer last = last_answer(example, end_ids_, limit);
    if (last.prompt.empty() || last.prompt.size() + limit > context_tokens) continue;
    prompts_.push_back(std::move(last.prompt));
    teachers.push_back(std::move(last.answer));
  }
  teacher_ = describe_answers(prompts_, teachers);
}

Result<OwnAnswers> HealthAnswers::measure(const model::Decoder& student) const {
  std::vector<TokenRequest> requests(prompts_.size());
  for (std::size_t i = 0; i < requests.size(); ++i) {
    requests[i].prompt_ids = prompts_[i];
    requests[i].sampling = sampling_;
    requests[i].sampling.seed = derive_seed(sampling_.seed, "answer", i);
    requests[i].end_ids = end_ids_;
  }
  model::TorchGenerator generator(student, requests.size());
  // Not stopped in between: a step whose figures are missing could not be taken up again as it was.
  RETORT_ASSIGN(const std::vector<TokenCompletion> answers, generate_all(generator, std::move(requests), {}));
  return OwnAnswers{describe_answers(prompts_, answers), teacher_};
}

}  // namespace retort::train
