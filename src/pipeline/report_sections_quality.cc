#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <functional>

#include "base/text.h"
#include "pipeline/report_sections.h"

namespace retort::pipeline {

namespace {

bool starts_with(const std::string& text, std::string_view prefix) {
  return text.compare(0, prefix.size(), prefix) == 0;
}

Json section(const char* title, Json blocks, const std::string& lead = {}) {
  Json json = {{"title", title}, {"blocks", std::move(blocks)}};
  if (!lead.empty()) json["lead"] = lead;
  return json;
}

// "105 MB against 143 MB" and the ratio, when both are known.
std::optional<double> ratio(const std::optional<Estimate>& over, const std::optional<Estimate>& under) {
  if (!over || !under || !(under->value > 0) || !(over->value > 0)) return std::nullopt;
  return over->value / under->value;
}

std::string rate_text(const Estimate& estimate) {
  return estimate.value < 10 ? fixed_text(estimate.value, 1) : human_count(std::llround(estimate.value));
}

Json size_line(const Scorecard& card, const std::vector<EqualType>& pairs) {
  const auto as_shipped = ratio(card.teacher.size_bytes, card.student.size_bytes);
  const EqualType* pair = pairs.empty() ? nullptr : &pairs.front();
  const auto equal = pair == nullptr ? std::nullopt : ratio(pair->teacher->size_bytes, pair->student->size_bytes);
  if (!equal && !as_shipped) return nullptr;
  const double shown = equal ? *equal : *as_shipped;
  const bool larger = shown < 1;
  Json line = {{"figure", times_text(larger ? 1 / shown : shown)},
               {"headline", std::string(larger ? "larger" : "smaller") + (equal ? " at equal type" : "")},
               {"tone", larger ? "bad" : "good"}};
  std::string detail;
  if (equal) {
    detail = decimal_bytes(pair->student->size_bytes->value) + " against " +
             decimal_bytes(pair->teacher->size_bytes->value) + ", both " + pair->type + ".";
  }
  if (as_shipped) {
    const double other = *as_shipped < 1 ? 1 / *as_shipped : *as_shipped;
    const bool same_pair = equal && pair->teacher == &card.teacher && pair->student == &card.student;
    if (!same_pair) {
      detail += " As shipped: " + card.student.type + ", " + decimal_bytes(card.student.size_bytes->value) +
                ", against the teacher's file as given, " + card.teacher.type + ", " +
                decimal_bytes(card.teacher.size_bytes->value);
      detail += other < 1.005 ? "." : ": " + times_text(other) + (*as_shipped < 1 ? " larger." : " smaller.");
    }
  }
  line["detail"] = detail;
  return line;
}

Json speed_line(const Scorecard& card, const std::vector<EqualType>& pairs) {
  const EqualType* pair = nullptr;
  for (const EqualType& candidate : pairs) {
    if (pair == nullptr && candidate.teacher->decode_tokens_per_s && candidate.student->decode_tokens_per_s) {
      pair = &candidate;
    }
  }
  if (pair == nullptr) return nullptr;
  const double speed = *ratio(pair->student->decode_tokens_per_s, pair->teacher->decode_tokens_per_s);
  const bool slower = speed < 1;
  std::string detail = "Decoding " + rate_text(*pair->student->decode_tokens_per_s) + " against " +
                       rate_text(*pair->teacher->decode_tokens_per_s) + " tokens per second";
  if (pair->student->prefill_tokens_per_s && pair->teacher->prefill_tokens_per_s) {
    detail += ", reading a prompt " + rate_text(*pair->student->prefill_tokens_per_s) + " against " +
              rate_text(*pair->teacher->prefill_tokens_per_s);
  }
  detail += ", both " + pair->type + " in llama.cpp on this machine.";
  if (const auto shipped = ratio(card.student.decode_tokens_per_s, card.teacher.decode_tokens_per_s);
      shipped && pair->teacher != &card.teacher) {
    const double other = *shipped < 1 ? 1 / *shipped : *shipped;
    detail += " As shipped, against the teacher's file as given: " + times_text(other) +
              (*shipped < 1 ? " slower." : " faster.");
  }
  return {{"figure", times_text(slower ? 1 / speed : speed)},
          {"headline", slower ? "slower at equal type" : "faster at equal type"},
          {"detail", detail},
          {"tone", slower ? "bad" : "good"}};
}

Json quality_line(const RunFacts& facts) {
  const Scorecard& card = facts.scorecard;
  if (!card.student.top1_agreement) return nullptr;
  std::string detail = "95 % interval " + interval_text(*card.student.top1_agreement, 100, 1) + " %";
  if (card.before.top1_agreement) {
    detail += "; before training it was " + percent_text(card.before.top1_agreement->value);
  }
  detail += ".";
  if (card.student.kl_nats) {
    detail += " Lost: " + fixed_text(card.student.kl_nats->value, 2) + " nats per token of KL to the teacher (" +
              interval_text(*card.student.kl_nats, 1, 2) + ")";
    if (card.student.perplexity && card.teacher.perplexity) {
      detail += "; perplexity on the teacher's answers rose from " + fixed_text(card.teacher.perplexity->value, 2) +
                " to " + fixed_text(card.student.perplexity->value, 2);
    }
    detail += ".";
  }
  if (facts.share_of_kl_closed) {
    detail += " Training closed " + percent_text(facts.share_of_kl_closed->value) + " (" +
              interval_text(*facts.share_of_kl_closed, 100, 1) + ") of the KL that was there before it";
    if (facts.fit && facts.fit->kl_before && facts.fit->kl_after) {
      detail += "; fitting what was cut had brought that from " + fixed_text(*facts.fit->kl_before, 2) + " to " +
                fixed_text(*facts.fit->kl_after, 2);
    }
    detail += ".";
  }
  return {{"figure", percent_text(card.student.top1_agreement->value)},
          {"headline", "of the teacher's first choices kept"},
          {"detail", detail},
          {"tone", "neutral"}};
}

// Of a teacher that gave its text alone.
Json text_quality_line(const RunFacts& facts) {
  const Scorecard& card = facts.scorecard;
  if (!card.student.perplexity) return nullptr;
  std::string detail = "95 % interval " + interval_text(*card.student.perplexity, 1, 2);
  if (card.before.perplexity) detail += "; before training it was " + fixed_text(card.before.perplexity->value, 2);
  detail += ".";
  if (card.student.kl_nats) {
    detail += " KL to the teacher, estimated from what it told of the words it drew: " +
              fixed_text(card.student.kl_nats->value, 2) + " nats per token (" +
              interval_text(*card.student.kl_nats, 1, 2) + ").";
  }
  return {{"figure", fixed_text(card.student.perplexity->value, 2)},
          {"headline", "perplexity on the teacher's answers"},
          {"detail", detail},
          {"tone", "neutral"}};
}

// A moving average over about a twentieth of the curve, centred.
Json smoothed(const std::vector<std::pair<double, double>>& points) {
  const auto reach = static_cast<std::ptrdiff_t>(points.size() / 40);
  Json curve = Json::array();
  const auto count = static_cast<std::ptrdiff_t>(points.size());
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    const std::ptrdiff_t reach_here = std::min({reach, i, count - 1 - i});
    double sum = 0;
    for (std::ptrdiff_t j = i - reach_here; j <= i + reach_here; ++j) sum += points[static_cast<std::size_t>(j)].second;
    curve.push_back({points[static_cast<std::size_t>(i)].first, sum / static_cast<double>(2 * reach_here + 1)});
  }
  return curve;
}

using Read = std::function<std::optional<double>(const MetricFacts&)>;

std::vector<std::pair<double, double>> curve_of(const RunFacts& facts, const Read& read) {
  std::vector<std::pair<double, double>> points;
  for (const MetricFacts& metric : facts.metrics) {
    const std::optional<double> value = read(metric);
    if (value && std::isfinite(*value)) points.emplace_back(static_cast<double>(metric.tokens), *value);
  }
  return points;
}

Json points_json(const std::vector<std::pair<double, double>>& points) {
  Json json = Json::array();
  for (const auto& [x, y] : points) json.push_back({x, y});
  return json;
}

Json metric_cell(const std::optional<Estimate>& estimate, double factor, int decimals, const char* unit = "") {
  if (!estimate) return nullptr;
  Json cell = {{"text", fixed_text(factor * estimate->value, decimals) + unit}};
  if (estimate->high > estimate->low) {
    cell["note"] = fixed_text(factor * estimate->low, decimals) + "–" + fixed_text(factor * estimate->high, decimals);
  }
  return cell;
}

std::string model_text(const ModelScore& score, const std::string& name) {
  std::string text = name;
  std::string inside = score.type;
  if (score.layers > 0) inside += (inside.empty() ? "" : ", ") + std::to_string(score.layers) + " layers";
  return inside.empty() ? text : text + " (" + inside + ")";
}

Json model_cell(const ModelScore& score, const std::string& name) {
  std::string inside = score.type;
  if (score.layers > 0) inside += (inside.empty() ? "" : ", ") + std::to_string(score.layers) + " layers";
  return {{"text", name}, {"note", inside}};
}

Json bar(const std::string& label, const Estimate& estimate, const char* role, const std::string& text) {
  return {{"label", label}, {"value", estimate.value}, {"low", estimate.low}, {"high", estimate.high}, {"role", role},
          {"text", text}};
}

struct NamedScore {
  const ModelScore* score;
  std::string label;
  const char* role;
};

std::vector<NamedScore> compared_models(const Scorecard& card) {
  std::vector<NamedScore> models = {{&card.teacher, "Teacher", "teacher"},
                                    {&card.before, "Before training", "before"},
                                    {&card.student, "Student as shipped", "student"}};
  if (const ModelScore* quantised = rival(card); quantised != nullptr && quantised != &card.teacher) {
    models.push_back({quantised, "Teacher, quantised", "rival"});
  }
  return models;
}

}  // namespace

std::vector<EqualType> equal_types(const Scorecard& card) {
  std::vector<const ModelScore*> teachers = {&card.teacher};
  std::vector<const ModelScore*> students = {&card.student};
  for (const ModelScore& score : card.others) {
    if (starts_with(score.name, "teacher")) teachers.push_back(&score);
    if (starts_with(score.name, "student")) students.push_back(&score);
  }
  std::vector<EqualType> pairs;
  for (const ModelScore* student : students) {
    for (const ModelScore* teacher : teachers) {
      const bool known =
          std::any_of(pairs.begin(), pairs.end(), [&](const EqualType& pair) { return pair.type == student->type; });
      if (teacher->type == student->type && !student->type.empty() && !known) {
        pairs.push_back({student->type, teacher, student});
      }
    }
  }
  return pairs;
}

const ModelScore* rival(const Scorecard& card) {
  if (!card.student.size_bytes || !(card.student.size_bytes->value > 0)) return nullptr;
  const double target = card.student.size_bytes->value;
  const ModelScore* nearest_score = nullptr;
  double nearest_distance = 0.34;
  const auto consider = [&](const ModelScore& score) {
    if (!score.size_bytes || !score.kl_nats) return;
    const double distance = std::abs(std::log(score.size_bytes->value / target));
    if (distance < nearest_distance) {
      nearest_distance = distance;
      nearest_score = &score;
    }
  };
  // The teacher's own row is the reference, at a KL of 0; the same file as others run it was measured like any other.
  for (const ModelScore& score : card.others) {
    if (starts_with(score.name, "teacher")) consider(score);
  }
  consider(card.teacher);
  return nearest_score;
}

Json verdict_section(const RunFacts& facts) {
  const Scorecard& card = facts.scorecard;
  const std::vector<EqualType> pairs = equal_types(card);
  Json lines = Json::array();
  for (Json line : {size_line(card, pairs), speed_line(card, pairs),
                    facts.text_alone ? text_quality_line(facts) : quality_line(facts)}) {
    if (!line.is_null()) lines.push_back(std::move(line));
  }
  Json blocks = Json::array();
  if (lines.empty()) return section("Verdict", std::move(blocks));
  blocks.push_back({{"type", "verdict"}, {"lines", std::move(lines)}});
  std::string reference = facts.teacher_reference.empty() ? "the teacher's file" : facts.teacher_reference;
  const bool quantised = !facts.teacher_type.empty() && facts.teacher_type.find('Q') != std::string::npos;
  std::string text = "Quality is measured against " + reference + ".";
  if (quantised) {
    text += " That file is itself quantised (" + facts.teacher_type +
            "): what it had already lost to the original weights is not counted here.";
  }
  if (const ModelScore* other = rival(card); other != nullptr && other->kl_nats && card.student.kl_nats) {
    if (other == &card.teacher) {
      text += "\n\nThe rival: the teacher's file as given is no more than a third away from the student in size (" +
              decimal_bytes(other->size_bytes->value) + " against " + decimal_bytes(card.student.size_bytes->value) +
              "), and loses nothing. What the student saves beside it is computation, not disk.";
    } else {
      text += "\n\nThe rival: the teacher merely quantised to " + other->type + ", " +
              decimal_bytes(other->size_bytes->value) + ", has KL " + fixed_text(other->kl_nats->value, 3) +
              " against the student's " + fixed_text(card.student.kl_nats->value, 3) + ".";
      if (other->decode_tokens_per_s && card.student.decode_tokens_per_s) {
        text += " It decodes " + rate_text(*other->decode_tokens_per_s) + " tokens per second, the student " +
                rate_text(*card.student.decode_tokens_per_s) + ".";
      }
    }
  }
  blocks.push_back({{"type", "text"}, {"style", "note"}, {"text", text}});
  return section("Verdict", std::move(blocks));
}

Json learning_section(const RunFacts& facts) {
  Json blocks = Json::array();
  const auto loss = curve_of(facts, [](const MetricFacts& m) { return m.loss; });
  const auto held_out = curve_of(facts, [](const MetricFacts& m) { return m.held_out_kl; });
  if (loss.empty() && held_out.empty()) return section("Learning", std::move(blocks));
  Json series = Json::array();
  if (!loss.empty()) {
    if (loss.size() > 40) {
      series.push_back({{"name", "loss"}, {"points", points_json(loss)}, {"role", "other"}, {"faint", true}});
      series.push_back({{"name", "loss, smoothed"}, {"points", smoothed(loss)}, {"role", "other"}});
    } else {
      series.push_back({{"name", "loss"}, {"points", points_json(loss)}, {"role", "other"}});
    }
  }
  const auto cross_entropy = curve_of(facts, [](const MetricFacts& m) { return m.held_out_cross_entropy; });
  if (!cross_entropy.empty()) {
    series.push_back({{"name", "held-out cross-entropy"},
                      {"points", points_json(cross_entropy)},
                      {"role", "student"},
                      {"dots", cross_entropy.size() <= 60}});
  }
  if (!held_out.empty()) {
    series.push_back({{"name", "held-out KL"},
                      {"points", points_json(held_out)},
                      {"role", "student"},
                      {"dots", held_out.size() <= 60}});
  }
  const auto own = curve_of(facts, [](const MetricFacts& m) { return m.rollout_loss; });
  if (!own.empty()) {
    series.push_back({{"name", "own answers"}, {"points", points_json(own)}, {"role", "before"}, {"faint", true}});
  }
  Json chart = {
      {"type", "line_chart"},
      {"title", facts.text_alone ? "Loss and held-out cross-entropy" : "Loss and held-out KL"},
      {"description", "Loss: what was minimised (" + facts.objective + "), each step's on its own batch. " +
                          (facts.text_alone ? "Held-out cross-entropy: how much the teacher's answers surprise "
                                              "the student while it trains, "
                                            : "Held-out forward KL: student against teacher while training, ") +
                          "on exchanges it never learnt from."},
      {"x_label", "trained tokens"},
      {"y_label", "nats per token"},
      {"y_from_zero", true},
      {"series", std::move(series)}};
  blocks.push_back(std::move(chart));
  const auto rate = curve_of(facts, [](const MetricFacts& m) { return m.learning_rate; });
  const auto norm = curve_of(facts, [](const MetricFacts& m) { return m.gradient_norm; });
  if (!norm.empty()) {
    blocks.push_back({{"type", "line_chart"},
                      {"title", "Gradient norm"},
                      {"description", "Before clipping; logarithmic."},
                      {"x_label", "trained tokens"},
                      {"y_label", "norm"},
                      {"y_scale", "log"},
                      {"series", {{{"name", "gradient norm"}, {"points", points_json(norm)}, {"role", "rival"}}}}});
  }
  Json items = Json::array();
  const auto item = [&items](const std::string& key, const std::string& value, const std::string& note = {}) {
    items.push_back({{"key", key}, {"value", value}, {"note", note}});
  };
  if (facts.trained_tokens > 0) {
    item("Trained", human_count(facts.trained_tokens) + " tokens",
         facts.metrics.empty() ? "" : human_count(facts.metrics.back().step) + " steps");
  }
  if (facts.train_tokens_per_s > 0) item("Speed", fixed_text(facts.train_tokens_per_s, 0) + " tok/s");
  if (!rate.empty()) {
    const double peak =
        std::max_element(rate.begin(), rate.end(), [](auto& a, auto& b) { return a.second < b.second; })->second;
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.3g", peak);
    item("Learning rate", text.data(), "at its peak");
  }
  if (facts.peak_memory_bytes > 0)
    item("Memory", human_bytes(static_cast<std::uint64_t>(facts.peak_memory_bytes)), "peak");
  if (!facts.compute_type.empty()) item("Computed in", facts.compute_type);
  if (!items.empty()) blocks.push_back({{"type", "key_values"}, {"items", std::move(items)}});
  if (!facts.compute_reason.empty())
    blocks.push_back({{"type", "text"}, {"style", "note"}, {"text", facts.compute_reason}});
  return section("Learning", std::move(blocks));
}

Json before_after_section(const RunFacts& facts) {
  const Scorecard& card = facts.scorecard;
  Json blocks = Json::array();
  if (!card.student.kl_nats && !card.student.perplexity) return section("Before and after", std::move(blocks));
  const bool with_text = card.student.text_perplexity.has_value();
  Json columns = {{{"title", "Model"}},
                  {{"title", "KL"}, {"note", "nats per token"}, {"numeric", true}},
                  {{"title", "Agreement"}, {"note", "first choice, %"}, {"numeric", true}},
                  {{"title", "Perplexity"}, {"note", "teacher's answers"}, {"numeric", true}}};
  if (with_text) columns.push_back({{"title", "Perplexity"}, {"note", "your text"}, {"numeric", true}});
  columns.push_back({{"title", "Length"}, {"note", "tokens an answer"}, {"numeric", true}});
  columns.push_back({{"title", "Ends by itself"}, {"note", "% of answers"}, {"numeric", true}});
  columns.push_back({{"title", "Loops"}, {"note", "% of answers"}, {"numeric", true}});
  Json rows = Json::array();
  for (const NamedScore& model : compared_models(card)) {
    Json cells = {model_cell(*model.score, model.label), metric_cell(model.score->kl_nats, 1, 3),
                  metric_cell(model.score->top1_agreement, 100, 1), metric_cell(model.score->perplexity, 1, 2)};
    if (with_text) cells.push_back(metric_cell(model.score->text_perplexity, 1, 2));
    cells.push_back(metric_cell(model.score->generated_tokens, 1, 0));
    cells.push_back(metric_cell(model.score->ended_by_itself, 100, 0));
    cells.push_back(metric_cell(model.score->repetition, 100, 0));
    rows.push_back({{"cells", std::move(cells)}, {"emphasis", model.score == &card.student}});
  }
  blocks.push_back(
      {{"type", "table"},
       {"caption",
        human_count(card.held_out.exchanges) + " held-out exchanges, " + human_count(card.held_out.tokens) +
            " scored tokens of the teacher's answers, token-weighted, at temperature 1, in FP64. Small: 95 % "
            "bootstrap intervals over exchanges." +
            (facts.text_alone ? " The teacher's probabilities aren't known; its own lengths are of the answers it gave."
                              : "")},
       {"columns", std::move(columns)},
       {"rows", std::move(rows)}});
  Json bars = Json::array();
  for (const NamedScore& model : compared_models(card)) {
    if (!model.score->kl_nats || model.score == &card.teacher) continue;
    bars.push_back(bar(model_text(*model.score, model.label), *model.score->kl_nats, model.role,
                       fixed_text(model.score->kl_nats->value, 2)));
  }
  if (bars.empty()) return section("Before and after", std::move(blocks));
  blocks.push_back({{"type", "bar_chart"},
                    {"title", "KL to the teacher"},
                    {"description", "0 would be the teacher itself."},
                    {"axis_label", "nats per token; less is better"},
                    {"bars", std::move(bars)}});
  return section("Before and after", std::move(blocks));
}

Json size_speed_section(const RunFacts& facts) {
  const Scorecard& card = facts.scorecard;
  Json blocks = Json::array();
  struct Row {
    std::string group, label;
    const char* role;
    const ModelScore* score;
  };
  std::vector<Row> rows;
  for (const EqualType& pair : equal_types(card)) {
    rows.push_back({"Both " + pair.type, "Teacher", "teacher", pair.teacher});
    rows.push_back({"Both " + pair.type, "Student", "student", pair.student});
  }
  const auto shown = [&rows](const ModelScore* score) {
    return std::any_of(rows.begin(), rows.end(), [&](const Row& row) { return row.score == score; });
  };
  const std::vector<Row> pairs = rows;
  const bool measured_as_given = std::any_of(card.others.begin(), card.others.end(),
                                             [&](const ModelScore& score) { return score.file == card.teacher.file; });
  if (!facts.text_alone && !shown(&card.teacher) && !measured_as_given)
    rows.push_back({"Others", "Teacher as given, " + card.teacher.type, "teacher", &card.teacher});
  if (!shown(&card.student))
    rows.push_back({"Others", "Student as shipped, " + card.student.type, "student", &card.student});
  for (const ModelScore& score : card.others) {
    if (!shown(&score)) rows.push_back({"Others", score.name, "rival", &score});
  }
  const auto chart = [&](const char* title, const char* axis, std::optional<Estimate> ModelScore::*member, bool bytes) {
    Json bars = Json::array();
    for (const Row& row : rows) {
      const auto& estimate = row.score->*member;
      if (!estimate) continue;
      const double scale = bytes ? 1e-6 : 1;
      bars.push_back({{"label", row.label},
                      {"value", estimate->value * scale},
                      {"role", row.role},
                      {"group", row.group},
                      {"text", bytes ? decimal_bytes(estimate->value) : rate_text(*estimate)}});
    }
    if (bars.empty()) return;
    blocks.push_back({{"type", "bar_chart"}, {"title", title}, {"axis_label", axis}, {"bars", std::move(bars)}});
  };
  chart("Size on disk", "MB", &ModelScore::size_bytes, true);
  chart("Decoding, one sequence", "tokens per second", &ModelScore::decode_tokens_per_s, false);
  chart("Reading a prompt", "tokens per second", &ModelScore::prefill_tokens_per_s, false);
  if (blocks.empty()) return section("Size and speed", std::move(blocks));
  Json items = Json::array();
  if (facts.student_parameters > 0 && facts.teacher_parameters > 0) {
    items.push_back(
        {{"key", "Parameters"},
         {"value", fixed_text(static_cast<double>(facts.student_parameters) * 1e-6, 1) + " M"},
         {"note", "teacher " + fixed_text(static_cast<double>(facts.teacher_parameters) * 1e-6, 1) + " M"}});
  }
  if (card.student.layers > 0 && facts.teacher_layers > 0) {
    items.push_back({{"key", "Layers"},
                     {"value", std::to_string(card.student.layers) + " of " + std::to_string(facts.teacher_layers)}});
  }
  if (!facts.machine.empty()) items.push_back({{"key", "Machine"}, {"value", facts.machine}});
  if (!items.empty()) blocks.push_back({{"type", "key_values"}, {"items", std::move(items)}});
  if (!facts.proof.empty()) blocks.push_back({{"type", "text"}, {"style", "note"}, {"text", facts.proof}});
  return section("Size and speed", std::move(blocks),
                 "Measured in llama.cpp after training, with nothing else at work: a prompt of 512 tokens read in one "
                 "piece, then tokens one by one.");
}

}  // namespace retort::pipeline
