// What evidence holds of one exchange: an admission record, written before upstream is called, and a completion record,
// written before the last byte goes out. Both name the exchange's id; their order is the spool's sequence.
//
// Text forms are canonical JSON (docs/formats/evidence.md); members that are empty, zero or false are absent, and
// unknown members are ignored when read, so that the schema can grow. Values; pure functions; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "evidence/sketch.h"

namespace retort::evidence {

// What a request asks to see, or was given.
struct Exposure {
  bool stream = false;
  bool reasoning = false;
  bool logprobs = false;
  bool logit_bias = false;
  bool seed = false;
  bool tools = false;
  bool store = false;
  bool batch = false;
  std::int64_t top_logprobs = 0;
  std::int64_t n = 0;           // 0: not said
  std::int64_t max_tokens = 0;  // 0: not said
  std::string effort;           // of reasoning
  bool operator==(const Exposure&) const = default;
};

struct Client {
  std::string ip;
  std::string user_agent;
  std::string ja4;
  bool operator==(const Client&) const = default;
};

struct Decision {
  bool allowed = true;
  std::string rule;                   // that decided
  std::string reason;                 // what the caller was told
  std::vector<std::string> steps;     // of response that were applied: flag, slow, cap, …
  std::vector<std::string> withheld;  // capabilities that were asked and not given
  bool operator==(const Decision&) const = default;
};

// A sketch or, where prompts aren't sketched, counts alone, of one text of the exchange.
struct TextFacts {
  std::string name;  // "prompt", "system", "answer", "reasoning", "hidden_reasoning", …
  std::int64_t bytes = 0;
  std::int64_t words = 0;
  std::optional<Sketch> sketch;
  bool operator==(const TextFacts&) const = default;
};

// The encrypted payload that is the record's attachment.
struct Sealed {
  std::string key;  // id of the data key, 16 hexadecimal digits
  std::string day;  // of the data key, YYYY-MM-DD in UTC
  bool operator==(const Sealed&) const = default;
};

struct AdmissionRecord {
  std::string id;  // of the exchange
  std::int64_t time_unix_ms = 0;
  std::string account;  // public id of the key; empty: anonymous
  std::string organisation;
  std::string tier;
  std::string end_customer;  // as a reseller attests it
  std::string dialect;       // openai.chat, openai.responses, anthropic.messages
  std::string model;
  std::string path;          // of the request, without its query
  std::string conversation;  // minted when reasoning is sealed
  bool batch = false;
  Client client;
  std::string network;  // canonical JSON of the network facts, or empty
  Exposure asked;
  Exposure granted;
  Decision decision;
  std::int64_t status = 0;  // that a refused request was answered with; 0: it goes upstream, a completion follows
  std::int64_t reserved_nano_usd = 0;  // held for it until it is settled
  std::string in_force;                // digest of the act that names policy, configuration and lists in force
  // The recorder fills these.
  std::vector<TextFacts> texts;
  std::optional<Sealed> sealed;

  bool operator==(const AdmissionRecord&) const = default;
};

// How an exchange ended.
enum class Ended : std::uint8_t {
  kComplete,
  kClientAborted,
  kUpstreamFailed,
  kTimedOut,
  kCutByPolicy,
  kDrained,     // the guard stopped
  kHandedOver,  // another proxy took it on: what became of it is not known here
};
std::string_view name_of(Ended ended);

struct CompletionRecord {
  std::string id;
  std::int64_t time_unix_ms = 0;
  std::string organisation;  // as in the admission record: whose key the payload has
  Ended ended = Ended::kComplete;
  std::int64_t status = 0;  // that the caller saw; 0: none
  std::int64_t upstream_status = 0;
  std::string upstream;     // its name
  std::string upstream_id;  // the provider's id of the answer
  std::string finish;       // in the dialect's own word: stop, length, end_turn, …
  std::int64_t input_tokens = 0;
  std::int64_t cached_tokens = 0;         // of input: read from the provider's cache
  std::int64_t cache_written_tokens = 0;  // of input: written into it
  std::int64_t output_tokens = 0;
  std::int64_t reasoning_tokens = 0;
  std::int64_t nano_usd = 0;        // settled
  std::int64_t request_bytes = 0;   // of the body, as it came
  std::int64_t response_bytes = 0;  // of the body, as it went
  std::int64_t first_byte_us = 0;   // from the request's end to the answer's first byte
  std::int64_t total_us = 0;        // to its last
  std::string facts;                // canonical JSON of further inputs of detectors (an object), or empty
  // The recorder fills these.
  std::vector<TextFacts> texts;
  std::optional<Sealed> sealed;

  bool operator==(const CompletionRecord&) const = default;
};

// Appends the record's canonical JSON to `out`.
void append_json(const AdmissionRecord& record, std::string& out);
void append_json(const CompletionRecord& record, std::string& out);
// Error (kCaller): not such a record.
Result<AdmissionRecord> read_admission(std::string_view text);
Result<CompletionRecord> read_completion(std::string_view text);

// "2026-11-22T04:37:47.123Z" and "2026-11-22".
std::string rfc3339_ms(std::int64_t unix_ms);
std::string utc_day(std::int64_t unix_ms);
// Milliseconds of what rfc3339_ms() gives. Error (kCaller).
Result<std::int64_t> unix_ms_of(std::string_view rfc3339);

}  // namespace retort::evidence
