#include "train/rank_generator.h"

#include <torch/torch.h>

#include <algorithm>
#include <utility>

#include "base/json.h"
#include "model/torch_generator.h"
#include "train/rank_messages.h"

namespace retort::train {
namespace {

constexpr std::size_t kParallel = 64;  // sequences at once on a rank

// A row of the answers' table: how many ids, why it ended, the ids.
void put(const TokenCompletion& answer, at::Tensor row) {
  auto* values = row.data_ptr<std::int32_t>();
  *values++ = static_cast<std::int32_t>(answer.ids.size());
  *values++ = static_cast<std::int32_t>(answer.finish_reason);
  std::copy(answer.ids.begin(), answer.ids.end(), values);
}

TokenCompletion answer_in(const at::Tensor& row) {
  const auto* values = row.const_data_ptr<std::int32_t>();
  TokenCompletion answer;
  answer.ids.assign(values + 2, values + 2 + values[0]);
  answer.finish_reason = static_cast<FinishReason>(values[1]);
  return answer;
}

}  // namespace

std::size_t RankGenerator::context_tokens() const { return static_cast<std::size_t>(student_.config().context); }

Result<std::vector<TokenCompletion>> RankGenerator::together(std::span<const TokenRequest> requests,
                                                             std::stop_token stop) {
  const auto rank = static_cast<std::size_t>(ranks_.rank());
  const auto world = static_cast<std::size_t>(ranks_.world());
  std::vector<TokenRequest> own;
  std::int64_t longest = 0;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    RETORT_CHECK(requests[i].sampling.max_tokens > 0);
    longest = std::max<std::int64_t>(longest, requests[i].sampling.max_tokens);
    if (i % world == rank) own.push_back(requests[i]);
  }
  model::TorchGenerator generator(student_, kParallel);
  const auto answers = generate_all(generator, std::move(own), std::move(stop));
  const bool stopped = !answers && answers.error().fault == Fault::kInterrupted;
  RETORT_ASSIGN(const bool any_failed, ranks_.any(!answers && !stopped));
  RETORT_ASSIGN(const bool any_stopped, ranks_.any(stopped));
  if (any_failed) {
    if (!answers && !stopped) return Failure(answers.error());
    return world_error("Another rank could not answer as the student; its own output says why.");
  }
  if (any_stopped) return std::vector<TokenCompletion>();
  const at::Tensor table = at::zeros({static_cast<std::int64_t>(requests.size()), longest + 2}, at::kInt);
  for (std::size_t i = 0; i < answers->size(); ++i) {
    put((*answers)[i], table[static_cast<std::int64_t>(i * world + rank)]);
  }
  RETORT_TRY(ranks_.sum(table));
  std::vector<TokenCompletion> all;
  for (std::int64_t i = 0; i < table.size(0); ++i) all.push_back(answer_in(table[i]));
  return all;
}

Result<void> RankGenerator::generate(GenerationJob& job, std::stop_token stop) {
  if (ranks_.world() == 1) return model::TorchGenerator(student_, kParallel).generate(job, std::move(stop));
  std::vector<TokenRequest> requests;
  while (std::optional<TokenRequest> request = job.next()) requests.push_back(std::move(*request));
  if (requests.empty()) return {};
  RETORT_TRY(ranks_.share(message_bytes({{kRequests, message_of(requests)}})));
  RETORT_ASSIGN(std::vector<TokenCompletion> answers, together(requests, std::move(stop)));
  if (answers.empty()) return interrupted("The student's answering was stopped.");
  for (std::size_t i = 0; i < answers.size(); ++i) {
    for (const TokenId id : answers[i].ids) job.sampled(requests[i].tag, id);
    RETORT_TRY(job.finished(requests[i].tag, std::move(answers[i])));
  }
  RETORT_CHECK(!job.next());  // an answer led to a request
  return {};
}

Result<void> RankGenerator::help(const Json& requests, std::stop_token stop) {
  RETORT_ASSIGN(const auto answers, together(requests_from(requests), std::move(stop)));
  static_cast<void>(answers);
  return {};
}

}  // namespace retort::train
