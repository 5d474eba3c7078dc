#include "pipeline/health_json.h"

#include <utility>

namespace retort::pipeline {
Json to_json(const Estimate& estimate) {
  return {{"value", estimate.value}, {"low", estimate.low}, {"high", estimate.high}};
}

Result<Estimate> estimate_from_json(const Json& json, const std::string& what) {
  Estimate estimate;
  RETORT_ASSIGN(estimate.value, member<double>(json, "value", what));
  RETORT_ASSIGN(estimate.low, member<double>(json, "low", what));
  RETORT_ASSIGN(estimate.high, member<double>(json, "high", what));
  return estimate;
}

namespace {

using evaluate::AnswerHealth;
using evaluate::CalibrationBin;
using evaluate::Health;
using evaluate::PartKl;

Json answers_json(const AnswerHealth& answers) {
  Json json = {{"distinct_bigrams", answers.distinct_bigrams}, {"empty", answers.empty}, {"copied", answers.copied}};
  if (answers.judged) {
    json["judged"] = {{"tokens", answers.judged->tokens},
                      {"teacher_nats", to_json(answers.judged->teacher_nats)},
                      {"model_nats", to_json(answers.judged->model_nats)},
                      {"kl_nats", to_json(answers.judged->kl_nats)}};
  }
  return json;
}

Result<AnswerHealth> answers_from_json(const Json& json, const std::string& what) {
  AnswerHealth answers;
  RETORT_ASSIGN(answers.distinct_bigrams, member<double>(json, "distinct_bigrams", what));
  RETORT_ASSIGN(answers.empty, member<double>(json, "empty", what));
  RETORT_ASSIGN(answers.copied, member<double>(json, "copied", what));
  if (!json.contains("judged")) return answers;  // of an older version
  const Json& judged = json["judged"];
  evaluate::OwnAnswers& own = answers.judged.emplace();
  RETORT_ASSIGN(own.tokens, member<std::int64_t>(judged, "tokens", what));
  for (const auto& [name, estimate] : {std::pair{"teacher_nats", &evaluate::OwnAnswers::teacher_nats},
                                       std::pair{"model_nats", &evaluate::OwnAnswers::model_nats},
                                       std::pair{"kl_nats", &evaluate::OwnAnswers::kl_nats}}) {
    RETORT_ASSIGN(const Json value, member<Json>(judged, name, what));
    RETORT_ASSIGN(own.*estimate, estimate_from_json(value, what));
  }
  return answers;
}

Json parts_json(const std::vector<PartKl>& parts) {
  Json list = Json::array();
  for (const PartKl& part : parts) {
    list.push_back({{"name", part.name}, {"tokens", part.tokens}, {"kl_nats", to_json(part.kl_nats)}});
  }
  return list;
}

Result<std::vector<PartKl>> parts_from_json(const Json& json, const std::string& what) {
  std::vector<PartKl> parts;
  for (const Json& entry : json) {
    PartKl part;
    RETORT_ASSIGN(part.name, member<std::string>(entry, "name", what));
    RETORT_ASSIGN(part.tokens, member<std::int64_t>(entry, "tokens", what));
    RETORT_ASSIGN(const Json kl, member<Json>(entry, "kl_nats", what));
    RETORT_ASSIGN(part.kl_nats, estimate_from_json(kl, what));
    parts.push_back(std::move(part));
  }
  return parts;
}

}  // namespace

Json to_json(const Health& health) {
  Json calibration = Json::array();
  for (const CalibrationBin& bin : health.calibration) {
    calibration.push_back({{"tokens", bin.tokens}, {"confidence", bin.confidence}, {"teacher", bin.teacher}});
  }
  return {{"calibration", std::move(calibration)},
          {"calibration_error", health.calibration_error},
          {"teacher_entropy", to_json(health.teacher_entropy)},
          {"model_entropy", to_json(health.model_entropy)},
          {"teacher_end_at_end", health.teacher_end_at_end},
          {"model_end_at_end", health.model_end_at_end},
          {"teacher_end_elsewhere", health.teacher_end_elsewhere},
          {"model_end_elsewhere", health.model_end_elsewhere},
          {"by_position", parts_json(health.by_position)},
          {"by_source", parts_json(health.by_source)},
          {"teacher_answers", answers_json(health.teacher_answers)},
          {"model_answers", answers_json(health.model_answers)},
          {"warnings", evaluate::warnings(health)}};
}

Result<Health> health_from_json(const Json& json, const std::string& what) {
  Health health;
  RETORT_ASSIGN(const Json calibration, member<Json>(json, "calibration", what));
  for (std::size_t i = 0; i < health.calibration.size() && i < calibration.size(); ++i) {
    CalibrationBin& bin = health.calibration[i];
    RETORT_ASSIGN(bin.tokens, member<std::int64_t>(calibration[i], "tokens", what));
    RETORT_ASSIGN(bin.confidence, member<double>(calibration[i], "confidence", what));
    RETORT_ASSIGN(bin.teacher, member<double>(calibration[i], "teacher", what));
  }
  RETORT_ASSIGN(health.calibration_error, member<double>(json, "calibration_error", what));
  for (const auto& [name, estimate] :
       {std::pair{"teacher_entropy", &Health::teacher_entropy}, std::pair{"model_entropy", &Health::model_entropy}}) {
    RETORT_ASSIGN(const Json value, member<Json>(json, name, what));
    RETORT_ASSIGN(health.*estimate, estimate_from_json(value, what));
  }
  for (const auto& [name, number] : {std::pair{"teacher_end_at_end", &Health::teacher_end_at_end},
                                     std::pair{"model_end_at_end", &Health::model_end_at_end},
                                     std::pair{"teacher_end_elsewhere", &Health::teacher_end_elsewhere},
                                     std::pair{"model_end_elsewhere", &Health::model_end_elsewhere}}) {
    RETORT_ASSIGN(health.*number, member<double>(json, name, what));
  }
  for (const auto& [name, parts] :
       {std::pair{"by_position", &Health::by_position}, std::pair{"by_source", &Health::by_source}}) {
    RETORT_ASSIGN(const Json value, member<Json>(json, name, what));
    RETORT_ASSIGN(health.*parts, parts_from_json(value, what));
  }
  for (const auto& [name, answers] :
       {std::pair{"teacher_answers", &Health::teacher_answers}, std::pair{"model_answers", &Health::model_answers}}) {
    RETORT_ASSIGN(const Json value, member<Json>(json, name, what));
    RETORT_ASSIGN(health.*answers, answers_from_json(value, what));
  }
  return health;
}

}  // namespace retort::pipeline
