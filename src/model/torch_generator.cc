#include "model/torch_generator.h"

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "exchange/sampling.h"
#include "model/parallel.h"
#include "model/tensor_draw.h"
#include "model/tensor_rows.h"

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
  return check_sampling(sampling);
}

// Draws the next token of each sequence from its row of logits: on all threads, or where the logits are when that isn't
// this memory and nothing is cut.
std::vector<TokenId> draw(const torch::Tensor& computed, Backend backend,
                          std::span<const std::unique_ptr<Sequence>> sequences) {
  const bool uncut = std::all_of(sequences.begin(), sequences.end(), [&](const auto& sequence) {
    return is_uncut(sequence->request.sampling, computed.size(1));
  });
  if (backend != Backend::kKernels && uncut) {
    std::vector<Draw> draws;
    for (const auto& sequence : sequences) {
      draws.push_back({sequence->request.sampling.temperature, &sequence->random});
    }
    return draw_by_tensors(computed, draws);
  }
  const torch::Tensor logits = computed.cpu();
  std::vector<TokenId> drawn(sequences.size());
  parallel_for(0, static_cast<std::int64_t>(sequences.size()), 1, [&](std::int64_t first, std::int64_t last) {
    Sampler sampler;
    std::vector<float> widened;
    for (auto i = static_cast<std::size_t>(first); i < static_cast<std::size_t>(last); ++i) {
      drawn[i] =
          sampler.sample(floats_of_row(logits, i, widened), sequences[i]->request.sampling, sequences[i]->random);
    }
  });
  return drawn;
}

}  // namespace

std::size_t TorchGenerator::context_tokens() const { return static_cast<std::size_t>(decoder_.config().context); }

Result<void> TorchGenerator::generate(GenerationJob& job, std::stop_token stop) {
  const torch::NoGradGuard no_gradient;
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
    const torch::Tensor last = hidden.index_select(0, torch::tensor(last_rows, torch::kInt64).to(decoder_.device()));
    const std::vector<TokenId> drawn = draw(at::mm(last, decoder_.head_weight().t()), decoder_.backend(), active);
    for (std::size_t i = 0; i < active.size(); ++i) {
      auto& sequence = *active[i];
      const auto& request = sequence.request;
      const TokenId id = drawn[i];
      if (id < 0) {
        return world_error("The model's logits hold no finite number after " +
                           std::to_string(sequence.completion.ids.size()) + " tokens of an answer.");
      }
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
