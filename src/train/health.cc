#include "train/health.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "base/json.h"
#include "evaluate/generation.h"
#include "evaluate/health.h"

namespace retort::train {
namespace {

std::string number(double value, int decimals) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.*f", decimals, value);
  return text;
}

std::string percent(double share, int decimals = 0) { return number(100 * share, decimals) + " %"; }

Json json_of(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

Json to_json(const AnswerFigures& figures) {
  return {{"answers", figures.answers},
          {"tokens", figures.tokens},
          {"ended", figures.ended},
          {"empty", figures.empty},
          {"copied", figures.copied},
          {"looping", figures.looping},
          {"distinct_bigrams", figures.distinct_bigrams}};
}

Result<AnswerFigures> answer_figures_from_json(const Json& json, const std::string& what) {
  AnswerFigures figures;
  RETORT_ASSIGN(figures.answers, member<std::int64_t>(json, "answers", what));
  RETORT_ASSIGN(figures.tokens, member<double>(json, "tokens", what));
  RETORT_ASSIGN(figures.ended, member<double>(json, "ended", what));
  RETORT_ASSIGN(figures.empty, member<double>(json, "empty", what));
  RETORT_ASSIGN(figures.copied, member<double>(json, "copied", what));
  RETORT_ASSIGN(figures.looping, member<double>(json, "looping", what));
  RETORT_ASSIGN(figures.distinct_bigrams, member<double>(json, "distinct_bigrams", what));
  return figures;
}

// Absent or null: nothing.
Result<std::optional<double>> optional_number(const Json& json, const char* key, const std::string& what) {
  if (!json.contains(key) || json[key].is_null()) return std::optional<double>();
  RETORT_ASSIGN(const double value, member<double>(json, key, what));
  return std::optional<double>(value);
}

}  // namespace

double perplexity_of(double nats) { return std::exp(std::min(nats, 700.0)); }

std::optional<StudentHealth> student_health(const evaluate::HealthSums& sums) {
  StudentHealth health;
  health.tokens = std::llround(sums.tokens);
  if (health.tokens == 0) return std::nullopt;
  health.teacher_entropy = sums.teacher_entropy / sums.tokens;
  health.student_entropy = sums.model_entropy / sums.tokens;
  health.calibration_error = sums.calibration_error();
  health.agreement = sums.agreed / sums.tokens;
  health.perplexity = perplexity_of(sums.negative_log_probability / sums.tokens);
  if (sums.at_end.tokens > 0) {
    health.teacher_end_at_end = sums.at_end.teacher / sums.at_end.tokens;
    health.student_end_at_end = sums.at_end.model / sums.at_end.tokens;
    // Without a place where an answer ended, nobody knows which token ends one.
    if (sums.elsewhere.tokens > 0) {
      health.teacher_end_elsewhere = sums.elsewhere.teacher / sums.elsewhere.tokens;
      health.student_end_elsewhere = sums.elsewhere.model / sums.elsewhere.tokens;
    }
  }
  for (std::size_t p = 0; p < evaluate::kPositionParts; ++p) {
    const evaluate::HealthSums::Position& position = sums.positions[p];
    if (position.tokens > 0) health.kl_by_position[p] = position.kl_nats / position.tokens;
  }
  return health;
}

void forget_teacher(StudentHealth& health) {
  health.teacher_entropy.reset();
  health.calibration_error.reset();
  health.agreement.reset();
  health.teacher_end_at_end.reset();
  health.teacher_end_elsewhere.reset();
  health.kl_by_position.fill(std::nullopt);
  if (health.text) health.text->teacher.reset();
}

Json to_json(const OwnAnswers& answers) {
  return {{"student", to_json(answers.student)}, {"teacher", to_json(answers.teacher)}};
}

Json to_json(const StudentHealth& health) {
  Json positions = Json::array();
  for (const std::optional<double>& kl : health.kl_by_position) positions.push_back(json_of(kl));
  Json json = {{"tokens", health.tokens},
               {"teacher_entropy", json_of(health.teacher_entropy)},
               {"student_entropy", health.student_entropy},
               {"calibration_error", json_of(health.calibration_error)},
               {"agreement", json_of(health.agreement)},
               {"perplexity", health.perplexity},
               {"teacher_end_at_end", json_of(health.teacher_end_at_end)},
               {"student_end_at_end", json_of(health.student_end_at_end)},
               {"teacher_end_elsewhere", json_of(health.teacher_end_elsewhere)},
               {"student_end_elsewhere", json_of(health.student_end_elsewhere)},
               {"kl_by_position", std::move(positions)}};
  if (health.text) {
    json["text"] = {{"tokens", health.text->tokens},
                    {"student_perplexity", health.text->student},
                    {"teacher_perplexity", json_of(health.text->teacher)}};
  }
  if (health.answers) json["answers"] = to_json(*health.answers);
  return json;
}

Result<OwnAnswers> own_answers_from_json(const Json& json, const std::string& what) {
  OwnAnswers answers;
  RETORT_ASSIGN(const Json student, member<Json>(json, "student", what));
  RETORT_ASSIGN(const Json teacher, member<Json>(json, "teacher", what));
  RETORT_ASSIGN(answers.student, answer_figures_from_json(student, what));
  RETORT_ASSIGN(answers.teacher, answer_figures_from_json(teacher, what));
  return answers;
}

Result<StudentHealth> student_health_from_json(const Json& json, const std::string& what) {
  StudentHealth health;
  RETORT_ASSIGN(health.tokens, member<std::int64_t>(json, "tokens", what));
  RETORT_ASSIGN(health.teacher_entropy, optional_number(json, "teacher_entropy", what));
  RETORT_ASSIGN(health.student_entropy, member<double>(json, "student_entropy", what));
  RETORT_ASSIGN(health.calibration_error, optional_number(json, "calibration_error", what));
  RETORT_ASSIGN(health.agreement, optional_number(json, "agreement", what));
  RETORT_ASSIGN(health.perplexity, member<double>(json, "perplexity", what));
  RETORT_ASSIGN(health.teacher_end_at_end, optional_number(json, "teacher_end_at_end", what));
  RETORT_ASSIGN(health.student_end_at_end, optional_number(json, "student_end_at_end", what));
  RETORT_ASSIGN(health.teacher_end_elsewhere, optional_number(json, "teacher_end_elsewhere", what));
  RETORT_ASSIGN(health.student_end_elsewhere, optional_number(json, "student_end_elsewhere", what));
  RETORT_ASSIGN(const Json positions, member<Json>(json, "kl_by_position", what));
  for (std::size_t p = 0; p < std::min<std::size_t>(positions.size(), evaluate::kPositionParts); ++p) {
    if (positions[p].is_number()) health.kl_by_position[p] = positions[p].get<double>();
  }
  if (json.contains("text")) {
    TextFigures text;
    RETORT_ASSIGN(text.tokens, member<std::int64_t>(json["text"], "tokens", what));
    RETORT_ASSIGN(text.student, member<double>(json["text"], "student_perplexity", what));
    RETORT_ASSIGN(text.teacher, optional_number(json["text"], "teacher_perplexity", what));
    health.text = text;
  }
  if (json.contains("answers")) {
    RETORT_ASSIGN(health.answers, own_answers_from_json(json["answers"], what));
  }
  return health;
}

AnswerFigures describe_answers(std::span<const std::vector<TokenId>> prompts,
                               std::span<const TokenCompletion> answers) {
  AnswerFigures figures;
  figures.answers = static_cast<std::int64_t>(answers.size());
  if (answers.empty()) return figures;
  for (const TokenCompletion& answer : answers) {
    const bool ended = answer.finish_reason == FinishReason::kEnd;
    const std::size_t length = answer.ids.size() - (ended && !answer.ids.empty() ? 1 : 0);
    figures.tokens += static_cast<double>(length);
    figures.ended += ended ? 1 : 0;
    figures.looping += evaluate::falls_into_a_loop(std::span(answer.ids).first(length)) ? 1 : 0;
  }
  const auto count = static_cast<double>(answers.size());
  figures.tokens /= count;
  figures.ended /= count;
  figures.looping /= count;
  const evaluate::AnswerHealth shared = evaluate::measure_answers(prompts, answers);
  figures.empty = shared.empty;
  figures.copied = shared.copied;
  figures.distinct_bigrams = shared.distinct_bigrams;
  return figures;
}

LastAnswer last_answer(const dataset::Example& example, std::span<const TokenId> end_ids, std::size_t limit) {
  LastAnswer last;
  std::size_t end = example.ids.size();
  while (end > 0 && example.supervised[end - 1] == 0) --end;
  std::size_t begin = end;
  while (begin > 0 && example.supervised[begin - 1] != 0) --begin;
  if (begin == end) return last;
  const auto first = example.ids.begin();
  last.prompt.assign(first, first + static_cast<std::ptrdiff_t>(begin));
  const std::size_t kept = std::min(end - begin, limit);
  last.answer.ids.assign(first + static_cast<std::ptrdiff_t>(begin), first + static_cast<std::ptrdiff_t>(begin + kept));
  const bool ended = std::find(end_ids.begin(), end_ids.end(), last.answer.ids.back()) != end_ids.end();
  last.answer.finish_reason = ended ? FinishReason::kEnd : FinishReason::kLength;
  return last;
}

std::vector<HealthWarning> warnings(const OwnAnswers& answers) {
  std::vector<HealthWarning> all;
  const AnswerFigures& student = answers.student;
  const AnswerFigures& teacher = answers.teacher;
  if (student.answers == 0) return all;
  const auto of_answers = [&](const char* what, double own, double teachers) {
    return "The student " + std::string(what) + " " + percent(own) + " of its answers, the teacher " +
           percent(teachers) + ".";
  };
  const auto above = [&](double own, double teachers, double margin) {
    const double more = (own - teachers) * static_cast<double>(student.answers);
    return own > teachers + margin && more > kFewestAnswers - 0.5;
  };
  if (above(student.empty, teacher.empty, kEmptyMargin)) {
    all.push_back({"empties", of_answers("empties: it ends at once in", student.empty, teacher.empty) +
                                  " Lower train.learning_rate, or train.on_policy_share where it learns from itself."});
  } else if (teacher.tokens >= kShortTokens && student.tokens < kShortShare * teacher.tokens) {
    all.push_back({"short", "The student grows short: its answers have " + number(student.tokens, 0) +
                                " tokens where the teacher's have " + number(teacher.tokens, 0) + "."});
  }
  if (above(student.copied, teacher.copied, kCopiedMargin)) {
    all.push_back({"copies", of_answers("copies: it repeats a run of the prompt in", student.copied, teacher.copied)});
  }
  if (above(student.looping, teacher.looping, kLoopingMargin)) {
    all.push_back({"loops", of_answers("loops in", student.looping, teacher.looping)});
  }
  for (HealthWarning& warning : all) warning.of_answers = true;
  return all;
}

std::vector<HealthWarning> warnings(const StudentHealth& health, const StudentHealth* before) {
  std::vector<HealthWarning> all;
  if (health.answers) all = warnings(*health.answers);
  if (health.teacher_entropy && health.student_entropy < kEntropyShare * *health.teacher_entropy &&
      health.student_entropy < *health.teacher_entropy - kEntropyNats) {
    all.push_back({"entropy", "The student's entropy collapses: " + number(health.student_entropy, 2) +
                                  " nats a token, the teacher's is " + number(*health.teacher_entropy, 2) + "."});
  }
  if (health.teacher_end_elsewhere && health.student_end_elsewhere &&
      *health.student_end_elsewhere > kEarlyEndTimes * *health.teacher_end_elsewhere + kEarlyEndProbability) {
    all.push_back({"ends_early", "The student would end answers early: " + percent(*health.student_end_elsewhere, 1) +
                                     " a token where the teacher goes on, the teacher " +
                                     percent(*health.teacher_end_elsewhere, 1) + "."});
  }
  if (health.text && before != nullptr && before->text &&
      health.text->student > kForgottenTimes * before->text->student) {
    all.push_back({"forgets", "The student forgets: its perplexity on your text is " + number(health.text->student, 1) +
                                  ", before training it was " + number(before->text->student, 1) + "."});
  }
  return all;
}

}  // namespace retort::train
