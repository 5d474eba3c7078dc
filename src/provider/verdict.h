// What follows from an outcome: kept, asked again, given up, or the end of the collection. Pure; any thread.
//
//   200 and whole                    kAnswered
//   cut, slow, malformed, 408, 409, 425, 429, 5xx, 529     kRetry (unless x-should-retry says no)
//   400, 413, 422                    kGiveUp: this request will never be answered
//   401, 402, 403, 404, a redirect, no credit, a certificate that isn't trusted    kStop: no request will be
//
// A 403 or another denial is never answered by another key, endpoint or route: it ends the collection with the words
// of the service.
#pragma once

#include <optional>
#include <string>

#include "net/transport.h"
#include "provider/dialect.h"
#include "provider/limit_headers.h"

namespace retort::provider {

struct Verdict {
  enum class Kind : std::uint8_t { kAnswered, kRetry, kGiveUp, kStop };
  Kind kind = Kind::kRetry;
  Answer answer;           // of kAnswered
  std::string outcome;     // in a word or two, for the ledger: "answered", "429", "cut off", "malformed"
  std::string sentence;    // for people; whole sentences, never with a key
  bool congested = false;  // the service asks for less: 429, 503, 529, or no answer in time
  // The service may have answered, and bills, although nothing usable came.
  bool maybe_billed = false;
  Fault fault = Fault::kWorld;  // of kStop
};

// `key` is taken out of every sentence.
Verdict judge(const Dialect& dialect, const net::HttpOutcome& outcome, const ToldLimits& told, const std::string& url,
              const std::string& key);

}  // namespace retort::provider
