#include "exchange/scorecard.h"

#include <array>
#include <utility>

#include "base/json.h"

namespace retort {

namespace {

constexpr std::string_view kWhat = "The scorecard";

struct MetricField {
  const char* key;
  std::optional<Estimate> ModelScore::*field;
};

constexpr std::array<MetricField, 10> kMetrics = {{
    {"kl_nats", &ModelScore::kl_nats},
    {"top1_agreement", &ModelScore::top1_agreement},
    {"perplexity", &ModelScore::perplexity},
    {"size_bytes", &ModelScore::size_bytes},
    {"prefill_tokens_per_s", &ModelScore::prefill_tokens_per_s},
    {"decode_tokens_per_s", &ModelScore::decode_tokens_per_s},
    {"generated_tokens", &ModelScore::generated_tokens},
    {"ended_by_itself", &ModelScore::ended_by_itself},
    {"repetition", &ModelScore::repetition},
    {"text_perplexity", &ModelScore::text_perplexity},
}};

Json to_json(const ModelScore& score) {
  Json json = {{"name", score.name}, {"file", score.file}, {"type", score.type}, {"layers", score.layers}};
  for (const MetricField& metric : kMetrics) {
    const auto& estimate = score.*metric.field;
    json[metric.key] =
        estimate ? Json{{"value", estimate->value}, {"low", estimate->low}, {"high", estimate->high}} : Json(nullptr);
  }
  return json;
}

Result<ModelScore> score_from_json(const Json& json) {
  ModelScore score;
  RETORT_ASSIGN(score.name, member<std::string>(json, "name", kWhat));
  RETORT_ASSIGN(score.file, member<std::string>(json, "file", kWhat));
  RETORT_ASSIGN(score.type, member<std::string>(json, "type", kWhat));
  RETORT_ASSIGN(score.layers, member<std::int64_t>(json, "layers", kWhat));
  for (const MetricField& metric : kMetrics) {
    const auto found = json.find(metric.key);
    if (found == json.end() || found->is_null()) continue;
    Estimate estimate;
    RETORT_ASSIGN(estimate.value, member<double>(*found, "value", kWhat));
    RETORT_ASSIGN(estimate.low, member<double>(*found, "low", kWhat));
    RETORT_ASSIGN(estimate.high, member<double>(*found, "high", kWhat));
    score.*metric.field = estimate;
  }
  return score;
}

}  // namespace

Json to_json(const Scorecard& scorecard) {
  Json others = Json::array();
  for (const ModelScore& score : scorecard.others) others.push_back(to_json(score));
  return {{"version", 1},
          {"teacher", to_json(scorecard.teacher)},
          {"before", to_json(scorecard.before)},
          {"student", to_json(scorecard.student)},
          {"others", std::move(others)},
          {"held_out",
           {{"exchanges", scorecard.held_out.exchanges},
            {"tokens", scorecard.held_out.tokens},
            {"temperature", scorecard.held_out.temperature},
            {"top_p", scorecard.held_out.top_p},
            {"max_tokens", scorecard.held_out.max_tokens}}},
          {"wall_s", scorecard.wall_s}};
}

Result<Scorecard> scorecard_from_json(const Json& json) {
  Scorecard scorecard;
  const auto read = [&json](const char* key, ModelScore& into) -> Result<void> {
    RETORT_ASSIGN(const Json value, member<Json>(json, key, kWhat));
    RETORT_ASSIGN(into, score_from_json(value));
    return {};
  };
  RETORT_TRY(read("teacher", scorecard.teacher));
  RETORT_TRY(read("before", scorecard.before));
  RETORT_TRY(read("student", scorecard.student));
  if (json.contains("others")) {
    for (const Json& entry : json["others"]) {
      RETORT_ASSIGN(ModelScore score, score_from_json(entry));
      scorecard.others.push_back(std::move(score));
    }
  }
  RETORT_ASSIGN(const Json held_out, member<Json>(json, "held_out", kWhat));
  RETORT_ASSIGN(scorecard.held_out.exchanges, member<std::int64_t>(held_out, "exchanges", kWhat));
  RETORT_ASSIGN(scorecard.held_out.tokens, member<std::int64_t>(held_out, "tokens", kWhat));
  RETORT_ASSIGN(scorecard.held_out.temperature, member<double>(held_out, "temperature", kWhat));
  RETORT_ASSIGN(scorecard.held_out.top_p, member<double>(held_out, "top_p", kWhat));
  RETORT_ASSIGN(scorecard.held_out.max_tokens, member<std::int64_t>(held_out, "max_tokens", kWhat));
  RETORT_ASSIGN(scorecard.wall_s, member<double>(json, "wall_s", kWhat));
  return scorecard;
}

}  // namespace retort
