// What a request gets: a pure function of the policy in force for its caller and of what it asks for.
//
// Nothing is changed in silence: what is withheld or changed is listed, for the answer's header and the evidence.
// Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "api/request_facts.h"
#include "api/route.h"
#include "policy/steps.h"

namespace retort::policy {

struct Decision {
  bool allowed = true;
  // When it is refused:
  int status = 403;
  std::string code;      // "model_not_allowed"
  std::string sentence;  // for the caller
  std::string rule;      // "expose.models": what in the policy said so; also when something was withheld

  // When it is allowed:
  std::vector<std::string> withheld;  // "logprobs", "seed", "n=1": what the caller asked for and doesn't get
  std::int64_t top_logprobs = 0;      // what it keeps of them
  bool strip_logprobs = false;
  bool strip_logit_bias = false;
  bool strip_seed = false;
  bool strip_reasoning = false;
  std::string summarised_by;    // a model that writes a summary of what was stripped; "": nobody
  bool unstore = false;         // the provider is told not to keep the answer
  std::int64_t n = 0;           // 0: as asked
  std::int64_t max_tokens = 0;  // 0: as asked
  std::int64_t slow_ms = 0;
};

// `facts` is null for operations without a body that was read.
Decision decide(const EffectivePolicy& policy, const api::Route& route, const api::RequestFacts* facts);

// Whether the tier may use the model: by name, or by a prefix that ends in '*'.
bool model_allowed(const Exposure& expose, std::string_view model);

// The body with what the decision takes away, and asking for usage where a stream is to be metered (`meter`).
std::string edited_body(api::Operation operation, std::string_view body, const api::RequestFacts& facts,
                        const Decision& decision, bool meter);

}  // namespace retort::policy
