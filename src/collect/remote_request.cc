#include "collect/remote_request.h"

#include <utility>

#include "base/digest.h"
#include "base/version.h"

namespace retort::collect {

SamplingOptions RemoteRequests::sampling(std::int64_t slot) const {
  constexpr std::uint64_t kSeedBits = 0x7fffffff;  // what every implementation takes
  SamplingOptions sampling = answer_sampling(options_);
  sampling.seed = capabilities_.seed ? plan_.answer_seed(slot) & kSeedBits : 0;
  return sampling;
}

Result<RemoteRequests::Asked> RemoteRequests::ask(std::int64_t slot, const PromptRow& row, bool stream) const {
  provider::AskOptions ask;
  ask.sampling = sampling(slot);
  ask.stream = stream;
  ask.seed = capabilities_.seed;
  ask.max_completion_tokens = capabilities_.max_completion_tokens;
  if (options_.logprobs) ask.top_logprobs = static_cast<int>(*options_.logprobs);
  auto body = dialect_.body(source_.teacher.model, row.prompt, ask);
  if (!body) return with_context(body.error(), prompts_.source + ", line " + std::to_string(row.line));
  Asked asked;
  asked.body = std::move(*body);
  asked.request = Sha256()
                      .update(dialect_.name())
                      .update("\n")
                      .update(asked.body)
                      .update("\n" + std::to_string(plan_.sample_of(slot)) + " " + std::to_string(ask.sampling.seed))
                      .finish();
  return asked;
}

store::NewExchange RemoteRequests::answered(std::int64_t slot, PromptRow row, provider::Answer answer,
                                            const std::string& endpoint, std::int64_t unix_ms) const {
  Exchange exchange;
  exchange.prompt = std::move(row.prompt);
  exchange.completion = std::move(answer.completion);
  Provenance& provenance = exchange.provenance;
  provenance.generated_by = GeneratedBy::kTeacher;
  provenance.prompt_source = prompts_.source;
  const provider::Usage usage = answer.usage.value_or(provider::Usage());
  provenance.served = ServedBy{.api = std::string(dialect_.name()),
                               .endpoint = endpoint,
                               .model = source_.teacher.model,
                               .answered_as = std::move(answer.answered_as),
                               .request_id = std::move(answer.request_id),
                               .input_tokens = usage.input,
                               .output_tokens = usage.output,
                               .reasoning_tokens = usage.reasoning};
  provenance.sampling = sampling(slot);
  provenance.code_version = std::string(kVersion);
  provenance.created_at = iso_time(unix_ms);
  provenance.terms = source_.terms;
  provenance.derived_from = std::move(row.derived_from);
  return {std::move(exchange), store::Slot{job_, slot}};
}

}  // namespace retort::collect
