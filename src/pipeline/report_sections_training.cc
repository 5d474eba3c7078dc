#include <functional>
#include <utility>

#include "base/text.h"
#include "pipeline/report_sections.h"

namespace retort::pipeline {
namespace {

using train::OwnAnswers;
using train::StudentHealth;
using ReadHealth = std::function<std::optional<double>(const StudentHealth&)>;
using ReadAnswers = std::function<double(const train::AnswerFigures&)>;

// What was measured of the held-out answers, over the trained tokens; before any step at 0.
Json health_curve(const RunFacts& facts, const ReadHealth& read) {
  Json points = Json::array();
  const auto add = [&](std::int64_t tokens, const StudentHealth& health) {
    if (const std::optional<double> value = read(health)) points.push_back({tokens, *value});
  };
  for (const MetricFacts& line : facts.metrics) {
    if (line.health_before) add(0, *line.health_before);
    if (line.health) add(line.tokens, *line.health);
  }
  return points;
}

struct Curve {
  const char* name;
  Json points;
  const char* role = "";
  bool dashed = false;
};

// Curves without a point are left out; a chart without a curve is none.
void add_chart(Json& blocks, const std::string& title, const std::string& description, const char* unit, bool from_zero,
               std::vector<Curve> curves) {
  Json series = Json::array();
  for (Curve& curve : curves) {
    if (curve.points.empty()) continue;
    Json one = {{"name", curve.name}, {"dots", curve.points.size() <= 60}, {"dashed", curve.dashed}};
    if (*curve.role != '\0') one["role"] = curve.role;
    one["points"] = std::move(curve.points);
    series.push_back(std::move(one));
  }
  if (series.empty()) return;
  blocks.push_back({{"type", "line_chart"},
                    {"title", title},
                    {"description", description},
                    {"x_label", "trained tokens"},
                    {"y_label", unit},
                    {"y_from_zero", from_zero},
                    {"small", true},
                    {"series", std::move(series)}});
}

void add_place_charts(Json& blocks, const RunFacts& facts) {
  const auto curve = [&](std::optional<double> StudentHealth::*member) {
    return health_curve(facts, [member](const StudentHealth& health) { return health.*member; });
  };
  const auto figure = [&](double StudentHealth::*member) {
    return health_curve(facts, [member](const StudentHealth& health) { return std::optional(health.*member); });
  };
  add_chart(blocks, "Entropy", "How undecided each is about the next word. A student far below its teacher collapses.",
            "nats per token", true,
            {{"student", figure(&StudentHealth::student_entropy), "student"},
             {"teacher", curve(&StudentHealth::teacher_entropy), "teacher", true}});
  add_chart(blocks, "Calibration error",
            "How far the student's sureness of its first choice is from what the teacher gives that word.",
            "probability", true, {{"student", curve(&StudentHealth::calibration_error), "student"}});
  add_chart(blocks, "Agreement", "Share of places where student and teacher have the same first choice.", "share", true,
            {{"student", curve(&StudentHealth::agreement), "student"}});
  std::vector<Curve> positions;
  for (std::size_t p = 0; p < evaluate::kPositionParts; ++p) {
    positions.push_back({evaluate::kPositionNames[p].data(),
                         health_curve(facts, [p](const StudentHealth& health) { return health.kl_by_position[p]; })});
  }
  add_chart(blocks, "KL by place in the answer", "Where in the answer the student is still off.", "nats per token",
            true, std::move(positions));
  add_chart(blocks, "Ending where the teacher ended", "Probability of the end where the teacher's answers ended.",
            "probability", true,
            {{"student", curve(&StudentHealth::student_end_at_end), "student"},
             {"teacher", curve(&StudentHealth::teacher_end_at_end), "teacher", true}});
  add_chart(blocks, "Ending elsewhere",
            "Probability of the end where the teacher's answers went on. Above the teacher's, answers grow short.",
            "probability", true,
            {{"student", curve(&StudentHealth::student_end_elsewhere), "student"},
             {"teacher", curve(&StudentHealth::teacher_end_elsewhere), "teacher", true}});
  const auto text = [&](auto member) {
    return health_curve(facts, [member](const StudentHealth& health) {
      return health.text ? std::optional<double>(*health.text.*member) : std::nullopt;
    });
  };
  Json on_text = text(&train::TextFigures::student);
  if (!on_text.empty()) {
    add_chart(
        blocks, "Forgetting: perplexity on your text",
        "On the beginning of evaluate.text, which is never learnt from, in windows of train.max_length. A curve "
        "that rises is forgetting.",
        "perplexity", false,
        {{"student", std::move(on_text), "student"}, {"teacher", text(&train::TextFigures::teacher), "teacher", true}});
  }
  add_chart(blocks, "Perplexity on the teacher's answers",
            facts.metrics.empty() || !facts.metrics.back().health || facts.metrics.back().health->text
                ? "How surprised the student is by held-out answers."
                : "How surprised the student is by held-out answers. It shows forgetting only of what the teacher "
                  "answers here; evaluate.text measures a text of yours.",
            "perplexity", false, {{"student", figure(&StudentHealth::perplexity), "student"}});
}

// The student's own answers, from `answers` of a line, over the trained tokens.
void add_answer_charts(Json& blocks, const RunFacts& facts, const std::string& whose,
                       const std::function<Json(const std::function<double(const OwnAnswers&)>&)>& curve,
                       const std::string& which) {
  const auto of = [&](double train::AnswerFigures::*member, bool teacher) {
    return curve([member, teacher](const OwnAnswers& own) { return (teacher ? own.teacher : own.student).*member; });
  };
  using Figures = train::AnswerFigures;
  Json length = of(&Figures::tokens, false);
  if (length.empty() || facts.metrics.empty()) return;
  add_chart(blocks, whose + ": length", which, "tokens", true,
            {{"student", std::move(length), "student"}, {"teacher", of(&Figures::tokens, true), "teacher", true}});
  add_chart(blocks, whose + ": what they do",
            "Shares that end by themselves, have no word, repeat twelve tokens of their prompt, or loop.",
            "share of answers", true,
            {{"end by themselves", of(&Figures::ended, false)},
             {"empty", of(&Figures::empty, false)},
             {"copy the prompt", of(&Figures::copied, false)},
             {"loop", of(&Figures::looping, false)}});
  add_chart(blocks, whose + ": variety", "Different pairs of tokens among all pairs.", "share", true,
            {{"student", of(&Figures::distinct_bigrams, false), "student"},
             {"teacher", of(&Figures::distinct_bigrams, true), "teacher", true}});
}

}  // namespace

Json while_training_section(const RunFacts& facts) {
  Json blocks = Json::array();
  std::string warned;
  for (const std::string& sentence : facts.training_warnings) warned += (warned.empty() ? "" : "\n\n") + sentence;
  if (!warned.empty()) blocks.push_back({{"type", "text"}, {"style", "warning"}, {"text", std::move(warned)}});
  add_place_charts(blocks, facts);
  std::int64_t asked = 0;
  for (const MetricFacts& line : facts.metrics) {
    if (line.health && line.health->answers) asked = line.health->answers->student.answers;
  }
  add_answer_charts(
      blocks, facts, "Own answers",
      [&](const std::function<double(const OwnAnswers&)>& read) {
        return health_curve(facts, [&read](const StudentHealth& health) {
          return health.answers ? std::optional(read(*health.answers)) : std::nullopt;
        });
      },
      "Mean of " + std::to_string(asked) +
          " short answers to held-out prompts; the teacher's own, cut at the same length.");
  add_answer_charts(
      blocks, facts, "Rollouts",
      [&](const std::function<double(const OwnAnswers&)>& read) {
        Json points = Json::array();
        for (const MetricFacts& line : facts.metrics) {
          if (line.rollouts) points.push_back({line.tokens, read(*line.rollouts)});
        }
        return points;
      },
      "By round: what it answered to training prompts and then learnt from.");
  Json data = Json::array(), own = Json::array();
  for (const MetricFacts& line : facts.metrics) {
    if (line.data_kl) data.push_back({line.tokens, *line.data_kl});
    if (line.rollout_kl) own.push_back({line.tokens, *line.rollout_kl});
  }
  add_chart(blocks, "KL by source", "Each step's own: on the teacher's text, and on the student's own answers.",
            "nats per token", true,
            {{"teacher's text", std::move(data), "teacher"}, {"own answers", std::move(own), "student"}});
  Json section = {{"title", "While it trained"}, {"blocks", std::move(blocks)}};
  section["lead"] =
      "Measured on held-out answers as training went, from the pass that gives the held-out KL. At 0: before any step.";
  return section;
}

}  // namespace retort::pipeline
