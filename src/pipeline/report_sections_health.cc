#include <cstdio>
#include <utility>

#include "base/text.h"
#include "evaluate/health.h"
#include "pipeline/report_sections.h"

namespace retort::pipeline {
namespace {

using evaluate::Health;

Json part_bars(const std::vector<evaluate::PartKl>& parts) {
  Json bars = Json::array();
  for (const evaluate::PartKl& part : parts) {
    bars.push_back({{"label", part.name + " (" + human_count(part.tokens) + ")"},
                    {"value", part.kl_nats.value},
                    {"low", part.kl_nats.low},
                    {"high", part.kl_nats.high},
                    {"role", "student"},
                    {"text", fixed_text(part.kl_nats.value, 2)}});
  }
  return bars;
}

Json calibration_chart(const Health& health) {
  Json points = Json::array();
  for (const evaluate::CalibrationBin& bin : health.calibration) {
    if (bin.tokens > 0) points.push_back({bin.confidence, bin.teacher});
  }
  return {
      {"type", "line_chart"},
      {"title", "Calibration"},
      {"description",
       "How sure the student is of its first choice, and how sure the teacher is of that same token, by tenths. On "
       "the dashed line both are equal; below it the student is too sure. The mean distance is " +
           fixed_text(health.calibration_error, 3) + "."},
      {"x_label", "student's probability"},
      {"y_label", "teacher's probability"},
      {"y_from_zero", true},
      {"series",
       {{{"name", "student"}, {"points", std::move(points)}, {"role", "student"}, {"dots", true}},
        {{"name", "equal"}, {"points", {{0, 0}, {1, 1}}}, {"role", "teacher"}, {"dashed", true}, {"faint", true}}}}};
}

Json comparison_table(const Health& health) {
  Json rows = Json::array();
  const auto row = [&rows](const char* what, const std::string& teacher, const std::string& student) {
    rows.push_back({{"cells", {what, teacher, student}}});
  };
  const auto entropy = [](const Estimate& estimate) {
    return fixed_text(estimate.value, 3) + " (" + interval_text(estimate, 1, 3) + ")";
  };
  row("Entropy, nats per token", entropy(health.teacher_entropy), entropy(health.model_entropy));
  if (health.teacher_end_at_end >= 0) {
    row("Probability of ending where the teacher ended", percent_text(health.teacher_end_at_end),
        percent_text(health.model_end_at_end));
  }
  if (health.teacher_end_elsewhere >= 0) {
    row("Probability of ending elsewhere, a token", percent_text(health.teacher_end_elsewhere, 2),
        percent_text(health.model_end_elsewhere, 2));
  }
  const evaluate::AnswerHealth& teacher = health.teacher_answers;
  const evaluate::AnswerHealth& student = health.model_answers;
  row("Own answers: different pairs of tokens", percent_text(teacher.distinct_bigrams),
      percent_text(student.distinct_bigrams));
  row("Own answers: empty", percent_text(teacher.empty), percent_text(student.empty));
  row("Own answers: copy a run of the prompt", percent_text(teacher.copied), percent_text(student.copied));
  if (teacher.judged && student.judged) {
    row("Own answers: how much they surprise the teacher, nats per token", entropy(teacher.judged->teacher_nats),
        entropy(student.judged->teacher_nats));
    row("Own answers: KL from the teacher there, nats per token", "0", entropy(student.judged->kl_nats));
  }
  return {
      {"type", "table"},
      {"columns",
       {{{"title", "Measure"}}, {{"title", "Teacher"}, {"numeric", true}}, {{"title", "Student"}, {"numeric", true}}}},
      {"rows", std::move(rows)}};
}

}  // namespace

Json health_section(const RunFacts& facts) {
  Json blocks = Json::array();
  if (facts.health) {
    const Health& health = *facts.health;
    std::string warned;
    for (const std::string& sentence : evaluate::warnings(health)) warned += (warned.empty() ? "" : "\n\n") + sentence;
    if (!warned.empty()) blocks.push_back({{"type", "text"}, {"style", "warning"}, {"text", std::move(warned)}});
    blocks.push_back(comparison_table(health));
    blocks.push_back(calibration_chart(health));
    blocks.push_back({{"type", "bar_chart"},
                      {"title", "KL by place in the answer"},
                      {"axis_label", "nats per token; less is better"},
                      {"bars", part_bars(health.by_position)}});
    if (health.by_source.size() > 1) {
      blocks.push_back({{"type", "bar_chart"},
                        {"title", "KL by source of the prompt"},
                        {"axis_label", "nats per token; less is better"},
                        {"bars", part_bars(health.by_source)}});
    }
  }
  return {{"title", "Health of the student"}, {"blocks", std::move(blocks)}};
}

Json checks_section(const RunFacts& facts) {
  Json blocks = Json::array();
  Json rows = Json::array();
  for (const CheckFacts& check : facts.checks) rows.push_back({{"cells", {check.question, check.measured}}});
  if (!rows.empty()) {
    blocks.push_back({{"type", "table"},
                      {"caption", "Made on a few of the training's own examples, with the code that trained."},
                      {"columns", {{{"title", "Question"}}, {{"title", "Yes:"}}}},
                      {"rows", std::move(rows)}});
  }
  return {{"title", "Checked before the first step"}, {"blocks", std::move(blocks)}};
}

}  // namespace retort::pipeline
