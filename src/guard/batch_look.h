// What a batch asks for, request by request, judged by the policy that single requests are judged by.
//
// A batch is taken whole or not at all: a wish beyond what the tier may have is refused with the number of its line,
// also where single requests would have it withheld. What nobody wished for is set in each request as elsewhere (a
// bound on answers, `store`), and sealed reasoning is opened. Pure, but for the reader's memory; one reader a thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "api/batch.h"
#include "api/blobs.h"
#include "api/request_facts.h"
#include "guard/rules.h"
#include "policy/money.h"
#include "policy/price.h"
#include "policy/steps.h"

namespace retort::guard {

struct BatchLook {
  std::string body;  // the request's, where something in it changed; else ""
  std::string path;  // of a file: what its lines ask for
  std::size_t requests = 0;
  std::optional<policy::NanoUsd> worst;       // what all of them may cost; nothing: one has no price or no bound
  std::optional<policy::TokenPrices> prices;  // of batches: each the dearest of its models'; nothing: one has no price
  std::vector<std::string> withheld;
};

struct BatchRefusal {
  int status = 400;
  std::string code, rule, sentence;
};

struct BatchTerms {
  const Rules& rules;
  const policy::EffectivePolicy& policy;
  api::RequestReader& reader;
  // Of opaque reasoning; empty: it passes as it is. `rule` for what it refuses.
  std::function<api::BlobFate(std::string_view model, std::string_view blob, const Digest& prefix)> fate{};
  std::function<std::string()> rule{};
};

template <class T>
using BatchJudged = tl::expected<T, BatchRefusal>;

// The form of POST /v1/files. Nothing: its purpose is no batch.
BatchJudged<std::optional<BatchLook>> look_into_upload(std::string_view content_type, std::string_view form,
                                                       const BatchTerms& terms);
// The body of POST /v1/messages/batches.
BatchJudged<BatchLook> look_into_list(std::string_view body, const BatchTerms& terms);

}  // namespace retort::guard
