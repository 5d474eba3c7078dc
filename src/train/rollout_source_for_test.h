// Prompts for a tiny student, and its answers kept in memory.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "train/rollouts.h"

namespace retort::train {

// Answers by the student itself; a round that was given before is given again, as a store would.
class AnswersForTest final : public RolloutSource {
 public:
  Result<std::vector<dataset::Example>> round(TokenGenerator& student, const RolloutRound& round,
                                              std::stop_token stop) override {
    rounds.push_back(round);
    const auto kept = stored.find(round.number);
    if (kept != stored.end()) return kept->second;
    std::vector<TokenRequest> requests;
    for (std::int64_t tokens = 0; tokens < round.tokens; tokens += 12) {
      TokenRequest request;
      request.prompt_ids = {static_cast<TokenId>(tokens % 61), 5};
      request.sampling = {.temperature = 1, .top_p = 1, .top_k = 0, .min_p = 0, .max_tokens = 10, .seed = 0};
      request.sampling.seed = static_cast<std::uint64_t>(100 * round.number + tokens);
      requests.push_back(request);
    }
    RETORT_ASSIGN(const auto answers, generate_all(student, requests, std::move(stop)));
    std::vector<dataset::Example> examples(answers.size());
    for (std::size_t i = 0; i < answers.size(); ++i) {
      examples[i].ids = requests[i].prompt_ids;
      examples[i].ids.insert(examples[i].ids.end(), answers[i].ids.begin(), answers[i].ids.end());
      examples[i].supervised.assign(examples[i].ids.size(), 1);
      examples[i].supervised[0] = examples[i].supervised[1] = 0;
    }
    stored[round.number] = examples;
    return examples;
  }
  std::vector<RolloutRound> rounds;
  std::map<std::int64_t, std::vector<dataset::Example>> stored;
};

}  // namespace retort::train
