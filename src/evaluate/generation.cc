#include "evaluate/generation.h"

#include <string>
#include <utility>

#include "base/random.h"
#include "exchange/repetition.h"

namespace retort::evaluate {

bool falls_into_a_loop(std::span<const TokenId> ids) { return measure_repetition(ids).is_loop; }

GenerationStatistics describe_generation(std::vector<TokenCompletion> answers, const BootstrapOptions& bootstrap) {
  GenerationStatistics statistics;
  statistics.answers = std::move(answers);
  std::vector<double> ones(statistics.answers.size(), 1.0);
  std::vector<double> tokens;
  std::vector<double> ended;
  std::vector<double> loops;
  for (const TokenCompletion& answer : statistics.answers) {
    const bool end = answer.finish_reason == FinishReason::kEnd;
    const std::size_t length = answer.ids.size() - (end && !answer.ids.empty() ? 1 : 0);
    tokens.push_back(static_cast<double>(length));
    ended.push_back(end ? 1 : 0);
    loops.push_back(falls_into_a_loop(std::span(answer.ids).first(length)) ? 1 : 0);
  }
  statistics.tokens = bootstrap_ratio(tokens, ones, bootstrap);
  statistics.ended_by_itself = bootstrap_ratio(ended, ones, bootstrap);
  statistics.repetition = bootstrap_ratio(loops, ones, bootstrap);
  return statistics;
}

Result<GenerationStatistics> measure_generation(TokenGenerator& generator,
                                                std::span<const std::vector<TokenId>> prompts,
                                                std::span<const TokenId> end_ids, const SamplingOptions& sampling,
                                                const BootstrapOptions& bootstrap, Progress& progress,
                                                std::stop_token stop) {
  for (std::size_t p = 0; p < prompts.size(); ++p) {
    if (prompts[p].size() < generator.context_tokens()) continue;
    return caller_error("Prompt " + std::to_string(p + 1) + " has " + std::to_string(prompts[p].size()) +
                        " tokens and leaves no room for an answer in a context of " +
                        std::to_string(generator.context_tokens()) + ". Use shorter prompts or a larger context.");
  }
  progress.begin("answer", static_cast<double>(prompts.size()), "answers");
  std::vector<TokenRequest> requests(prompts.size());
  for (std::size_t p = 0; p < prompts.size(); ++p) {
    requests[p].prompt_ids = prompts[p];
    requests[p].sampling = sampling;
    requests[p].sampling.seed = derive_seed(sampling.seed, "answer", p);
    requests[p].end_ids.assign(end_ids.begin(), end_ids.end());
  }
  RETORT_ASSIGN(std::vector<TokenCompletion> answers,
                generate_all(generator, std::move(requests), stop,
                             [&](std::size_t done) { progress.advance(static_cast<double>(done), ""); }));
  progress.end(std::to_string(prompts.size()) + " answers");

  return describe_generation(std::move(answers), bootstrap);
}

void set_generation(ModelScore& score, const GenerationStatistics& statistics) {
  score.generated_tokens = statistics.tokens;
  score.ended_by_itself = statistics.ended_by_itself;
  score.repetition = statistics.repetition;
}

}  // namespace retort::evaluate
