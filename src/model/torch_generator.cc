#include "model/torch_generator.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace retort::model {

namespace {

struct Sequence {
  TokenRequest request;
  KeyValueCache cache;
  Random random;
  std::vector<TokenId> pending;  // not yet in the cache: the prompt, then the last sampled token
  TokenCompletion completion;
  std::size_t most_tokens = 0;

  explicit Sequence(TokenRequest r) : request(std::move(r)), random(request.sampling.seed) {
    pending = request.prompt_ids;
  }
};

Result<void> check_request(const TokenRequest& request, const DecoderConfig& config) {
  const auto& sampling = request.sampling;
  if (request.prompt_ids.empty()) return caller_error("A prompt without tokens cannot be continued.");
  const auto prompt_tokens = static_cast<std::int64_t>(request.prompt_ids.size());
  if (prompt_tokens + std::max<std::int64_t>(sampling.max_tokens, 1) > config.context) {
    return caller_error("The prompt has " + std::to_string(prompt_tokens) + " tokens and " +
                        std::to_string(sampling.max_tokens) + " more are asked for; the model's context holds " +
                        std::to_string(config.context) + ".");
  }
  for (const TokenId id : request.prompt_ids) {
    if (id < 0 || id >= config.vocabulary) {
      return caller_error("Token " + std::to_string(id) + " is outside the model's vocabulary of " +
                          std::to_string(config.vocabulary) + ".");
    }
  }
  if (!(sampling.temperature >= 0) || !(sampling.top_p > 0 && sampling.top_p <= 1) || sampling.top_k < 0 ||
      !(sampling.min_p >= 0 && sampling.min_p < 1)) {
    return caller_error(
        "The sampling options are out of range; expected temperature >= 0, 0 < top_p <= 1, top_k >= 0, 0 <= min_p < "
        "1.");
  }
  return {};
}

}  // namespace

TokenId sample_token(std::span<const float> logits, const SamplingOptions& options, Random& random) {
  const auto best = std::max_element(logits.begin(), logits.end());
  if (options.temperature == 0) return static_cast<TokenId>(best - logits.begin());

  struct Candidate {
    double weight;
    TokenId id;
  };
  std::vector<Candidate> candidates(logits.size());
  double total = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double weight = std::exp((static_cast<double>(logits[i]) - *best) / options.temperature);
    candidates[i] = {weight, static_cast<TokenId>(i)};
    total += weight;
  }
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.id < b.id;
  });
  std::size_t kept = candidates.size();
  if (options.top_k > 0) kept = std::min(kept, static_cast<std::size_t>(options.top_k));
  double mass = total;
  if (kept < candidates.size()) {
    mass = 0;
    for (std::size_t i = 0; i < kept; ++i) mass += candidates[i].weight;
  }
  double sum = 0;
  if (options.top_p < 1) {
    for (std::size_t i = 0; i < kept; ++i) {
      sum += candidates[i].weight;
      if (sum >= options.top_p * mass) kept = i + 1;
    }
  }
  if (options.min_p > 0) {
    while (kept > 1 && candidates[kept - 1].weight < options.min_p * candidates[0].weight) --kept;
  }
  sum = 0;
  for (std::size_t i = 0; i < kept; ++i) sum += candidates[i].weight;
  double target = random.uniform() * sum;
  for (std::size_t i = 0; i < kept; ++i) {
    target -= candidates[i].weight;
    if (target < 0) return candidates[i].id;
  }
  return candidates[kept - 1].id;
}

std::size_t TorchGenerator::context_tokens() const { return static_cast<std::size_t>(decoder_.config().context); }

Result<void> TorchGenerator::generate(GenerationJob& job, std::stop_token stop) {
  const torch::NoGradGuard no_gradient;
  const auto vocabulary = static_cast<std::size_t>(decoder_.config().vocabulary);
  std::vector<std::unique_ptr<Sequence>> active;
  while (true) {
    if (stop.stop_requested()) return interrupted("The generation was stopped; finished answers are kept.");
    while (active.size() < parallel_) {
      auto request = job.next();
      if (!request) break;
      RETORT_TRY(check_request(*request, decoder_.config()));
      auto sequence = std::make_unique<Sequence>(std::move(*request));
      const auto limit = sequence->request.sampling.max_tokens;
      sequence->most_tokens =
          limit > 0 ? static_cast<std::size_t>(limit) : context_tokens() - sequence->request.prompt_ids.size();
      active.push_back(std::move(sequence));
    }
    if (active.empty()) return {};

    std::vector<std::int32_t> ids;
    std::vector<std::int64_t> counts;
    std::vector<KeyValueCache*> caches;
    std::vector<std::int64_t> last_rows;
    for (auto& sequence : active) {
      ids.insert(ids.end(), sequence->pending.begin(), sequence->pending.end());
      counts.push_back(static_cast<std::int64_t>(sequence->pending.size()));
      caches.push_back(&sequence->cache);
      last_rows.push_back(static_cast<std::int64_t>(ids.size()) - 1);
    }
    const torch::Tensor hidden = decoder_.extend(ids, counts, caches);
    const torch::Tensor logits =
        decoder_.logits(hidden.index_select(0, torch::tensor(last_rows, torch::kInt64))).contiguous();
    const float* row = logits.const_data_ptr<float>();
    for (std::size_t i = 0; i < active.size(); ++i, row += vocabulary) {
      auto& sequence = *active[i];
      const auto& request = sequence.request;
      const TokenId id = sample_token({row, vocabulary}, request.sampling, sequence.random);
      auto& completion = sequence.completion;
      completion.ids.push_back(id);
      sequence.pending = {id};
      job.sampled(request.tag, id);
      if (std::find(request.end_ids.begin(), request.end_ids.end(), id) != request.end_ids.end()) {
        completion.finish_reason = FinishReason::kEnd;
      } else if (completion.ids.size() >= sequence.most_tokens) {
        completion.finish_reason = FinishReason::kLength;
      }
    }
    for (auto& sequence : active) {
      if (sequence->completion.finish_reason == FinishReason::kUnknown) continue;
      RETORT_TRY(job.finished(sequence->request.tag, std::move(sequence->completion)));
      sequence.reset();
    }
    std::erase(active, nullptr);
  }
}

}  // namespace retort::model
