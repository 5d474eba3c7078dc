// What a teacher behind an API can give, found out by asking it once.
//
// A probe is a handful of requests of one token: does the model exist, does it give log-probabilities and how many, of
// a given text too (`echo`), does it take a seed, is there a batch API. What the service refuses is not a failure of
// the probe but its result. Paid requests go through the caller's `ask`, which keeps the books.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/json_fwd.h"
#include "net/transport.h"
#include "provider/dialect.h"
#include "provider/forecast.h"

namespace retort::provider {

struct Capabilities {
  // Absent: none. 0: of the sampled token alone. n: also of the n most likely ones.
  std::optional<int> top_logprobs;
  bool prompt_logprobs = false;  // of a text that is given
  bool batch = false;
  bool seed = false;
  bool max_completion_tokens = false;  // the name of the limit, see AskOptions
  std::string probed_at;               // ISO 8601
  bool operator==(const Capabilities&) const = default;

  // "text, log-probabilities of 20 tokens, seed": for people.
  std::string sentence() const;
};
Json to_json(const Capabilities& capabilities);
Result<Capabilities> capabilities_from_json(const Json& json);

// What both endpoints of a pool can do.
Capabilities common(const Capabilities& a, const Capabilities& b);

// Carries out one call. `bill`, when present, is what it can cost at most.
using Ask = std::function<Result<net::HttpOutcome>(net::HttpCall call, std::optional<WorstCase> bill)>;

struct ProbeTarget {
  const Dialect& dialect;
  std::string url;
  std::string key;
  std::string model;
};

// Errors: as judge() stops; an unknown model, with the nearest one that the service lists; no answer at all.
Result<Capabilities> probe(const ProbeTarget& target, const Ask& ask, const std::string& now_iso);

}  // namespace retort::provider
