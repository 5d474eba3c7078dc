// What a slot asks of a service, and the exchange that an answer to it makes. Internal to the module.
//
// Borrows everything; one thread.
#pragma once

#include <cstdint>
#include <string>

#include "collect/remote_collect.h"
#include "collect/slot_plan.h"
#include "provider/forecast.h"

namespace retort::collect {

class RemoteRequests {
 public:
  RemoteRequests(const RemoteSource& source, const provider::Dialect& dialect, const RemotePrompts& prompts,
                 const CollectOptions& options, const SlotPlan& plan, std::string job,
                 provider::Capabilities capabilities)
      : source_(source),
        dialect_(dialect),
        prompts_(prompts),
        options_(options),
        plan_(plan),
        job_(std::move(job)),
        capabilities_(std::move(capabilities)) {}

  store::Slot slot(std::int64_t number) const { return {job_, number}; }
  std::int64_t prompt_bytes(std::int64_t slot) const { return prompts_.rows.prompt_bytes(plan_.row_of(slot)); }
  Result<PromptRow> row(std::int64_t slot) const { return prompts_.rows.at(plan_.row_of(slot)); }
  provider::WorstCase worst_case(const PromptRow& row) const {
    provider::WorstCase worst = provider::worst_case(row.prompt, options_.max_tokens);
    worst.input += dialect_.bytes_around();
    return worst;
  }
  // How the answer is drawn, as it is sent: without a seed where the service takes none.
  SamplingOptions sampling(std::int64_t slot) const;

  struct Asked {
    std::string body;  // JSON
    Digest request;    // of it, its sample number and seed: the request's id
  };
  // Error (kCaller): the API has no word for something in the prompt (which line).
  Result<Asked> ask(std::int64_t slot, const PromptRow& row, bool stream) const;

  // `endpoint`: the URL that answered.
  store::NewExchange answered(std::int64_t slot, PromptRow row, provider::Answer answer, const std::string& endpoint,
                              std::int64_t unix_ms) const;

 private:
  const RemoteSource& source_;
  const provider::Dialect& dialect_;
  const RemotePrompts& prompts_;
  const CollectOptions& options_;
  const SlotPlan& plan_;
  const std::string job_;
  const provider::Capabilities capabilities_;
};

}  // namespace retort::collect
