// What was kept and what was lost, in numbers: the JSON of runs/NAME/scorecard.json (docs/formats/scorecard.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json_fwd.h"

namespace retort {

// A measured value with its bootstrap interval (95 %). A metric without an interval has low == high == value.
struct Estimate {
  double value = 0;
  double low = 0;
  double high = 0;
};

// One model on the held-out exchanges. What wasn't measured is absent (null in JSON).
struct ModelScore {
  std::string name;
  std::string file;  // file name, without folder
  std::string type;  // "F16", "Q8_0", …
  std::int64_t layers = 0;
  std::optional<Estimate> kl_nats;         // KL(teacher || model), nats per token, temperature 1
  std::optional<Estimate> top1_agreement;  // fraction
  std::optional<Estimate> perplexity;      // on the teacher's answers
  std::optional<Estimate> size_bytes;
  std::optional<Estimate> prefill_tokens_per_s;
  std::optional<Estimate> decode_tokens_per_s;
  // On text it generated itself.
  std::optional<Estimate> generated_tokens;  // mean length of an answer
  std::optional<Estimate> ended_by_itself;   // fraction
  std::optional<Estimate> repetition;        // fraction of answers that fell into a loop
  std::optional<Estimate> text_perplexity;   // on --text, when given
};

struct HeldOut {
  std::int64_t exchanges = 0;
  std::int64_t tokens = 0;  // scored tokens
  double temperature = 0;
  double top_p = 0;
  std::int64_t max_tokens = 0;
};

struct Scorecard {
  ModelScore teacher;
  ModelScore before;               // the untrained cut
  ModelScore student;              // as shipped
  std::vector<ModelScore> others;  // equal-type pairs and the quantised teacher, each named
  HeldOut held_out;
  double wall_s = 0;  // of the whole run
};

Json to_json(const Scorecard& scorecard);
Result<Scorecard> scorecard_from_json(const Json& json);

}  // namespace retort
