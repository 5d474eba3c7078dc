#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "base/text.h"
#include "exporter/duties.h"
#include "pipeline/report_sections.h"
#include "terms/terms.h"

namespace retort::pipeline {

namespace {

Json section(const char* title, Json blocks, const std::string& lead = {}) {
  Json json = {{"title", title}, {"blocks", std::move(blocks)}};
  if (!lead.empty()) json["lead"] = lead;
  return json;
}

std::string in_words(std::string identifier) {
  std::replace(identifier.begin(), identifier.end(), '_', ' ');
  if (!identifier.empty() && identifier[0] >= 'a' && identifier[0] <= 'z') {
    identifier[0] = static_cast<char>(identifier[0] - 'a' + 'A');
  }
  return identifier;
}

// What was left out of a prompt file, and what became of personal data in it.
std::string prompt_rows_text(const RunFacts& facts) {
  std::string text;
  if (facts.skipped_rows > 0) text = human_count(facts.skipped_rows) + " broken rows left out";
  if (facts.personal_data.empty()) return text;
  const std::string became = facts.personal_data_mode == "drop"
                                 ? "whose " + human_count(facts.dropped_rows) + " rows were left out"
                                 : (facts.personal_data_mode == "keep" ? "kept as they stand" : "masked");
  return text + (text.empty() ? "" : "; ") + facts.personal_data + " found in the file, " + became;
}

std::string text_member(const Json& json, const char* key) {
  if (!json.is_object()) return {};
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace

std::string fixed_text(double value, int decimals) {
  std::array<char, 64> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%.*f", decimals, value);
  return buffer.data();
}

std::string percent_text(double fraction, int decimals) { return fixed_text(100 * fraction, decimals) + " %"; }

std::string interval_text(const Estimate& estimate, double factor, int decimals) {
  return fixed_text(factor * estimate.low, decimals) + " to " + fixed_text(factor * estimate.high, decimals);
}

std::string times_text(double ratio) { return fixed_text(ratio, ratio < 10 ? 2 : 1) + "×"; }

std::string decimal_bytes(double bytes) { return human_bytes(static_cast<std::uint64_t>(std::max(0.0, bytes))); }

std::string subtitle(const RunFacts& facts) {
  const std::string teacher = facts.teacher.name.empty() ? "A teacher" : facts.teacher.name;
  std::string text = teacher;
  if (facts.teacher_layers > 0) text += ", " + std::to_string(facts.teacher_layers) + " layers";
  text += ", distilled into a student";
  if (facts.scorecard.student.layers > 0) text += " of " + std::to_string(facts.scorecard.student.layers) + " layers";
  return text + ".";
}

Json header_facts(const RunFacts& facts) {
  Json list = Json::array();
  if (facts.started_at.size() >= 10) list.push_back(facts.started_at.substr(0, 10));
  if (facts.scorecard.wall_s > 0) list.push_back(human_seconds(facts.scorecard.wall_s));
  if (facts.trained_tokens > 0) list.push_back(human_count(facts.trained_tokens) + " trained tokens");
  if (facts.scorecard.held_out.exchanges > 0) {
    list.push_back(human_count(facts.scorecard.held_out.exchanges) + " held-out exchanges");
  }
  if (!facts.machine.empty()) list.push_back(facts.machine);
  return list;
}

Json disagreement_section(const RunFacts& facts) {
  Json blocks = Json::array();
  std::size_t number = 0;
  for (const ComparedExchange& exchange : facts.compared) {
    ++number;
    Json tokens = Json::array();
    double kl = 0;
    std::size_t agreed = 0;
    for (const ComparedToken& token : exchange.tokens) {
      kl += token.kl_nats;
      agreed += token.agreed ? 1 : 0;
      tokens.push_back({{"text", token.text},
                        {"kl", token.kl_nats},
                        {"agree", token.agreed},
                        {"teacher_top", token.teacher_top},
                        {"teacher_top_probability", token.teacher_top_probability},
                        {"student_top", token.student_top},
                        {"student_top_probability", token.student_top_probability}});
    }
    if (tokens.empty()) continue;
    const auto count = static_cast<double>(tokens.size());
    blocks.push_back({{"type", "token_diff"},
                      {"title", "Held-out exchange " + std::to_string(number)},
                      {"summary", human_count(static_cast<std::int64_t>(tokens.size())) + " tokens, mean KL " +
                                      fixed_text(kl / count, 2) + " nats, first choice the same at " +
                                      percent_text(static_cast<double>(agreed) / count, 0)},
                      {"prompt", exchange.prompt},
                      {"teacher", "teacher"},
                      {"student", "student"},
                      {"tokens", std::move(tokens)}});
  }
  return section(
      "Where they disagree", std::move(blocks),
      "The teacher's own answers to prompts never trained on. The stronger the colour, the further the student's "
      "expectation is from the teacher's at that token; a dotted line: their first choices differ. Hover for both.");
}

Json answers_section(const RunFacts& facts) {
  Json blocks = Json::array();
  Json rows = Json::array();
  for (const AnswerFacts& answer : facts.answers) {
    rows.push_back({{"prompt", answer.prompt},
                    {"answers", {{{"text", answer.teacher}}, {{"text", answer.before}}, {{"text", answer.student}}}}});
  }
  if (!rows.empty()) {
    blocks.push_back({{"type", "side_by_side"},
                      {"columns",
                       {{{"name", "Teacher"}, {"role", "teacher"}},
                        {{"name", "Before training"}, {"role", "before"}},
                        {{"name", "Student"}, {"role", "student"}}}},
                      {"rows", std::move(rows)}});
  }
  return section(
      "Answers side by side", std::move(blocks),
      "The same held-out prompts, sampled with the same options and seed, in the order of the held-out set: not "
      "chosen.");
}

Json funnel_section(const RunFacts& facts) {
  Json blocks = Json::array();
  if (facts.collected <= 0) return section("From answers to data", std::move(blocks));
  Json steps = Json::array();
  std::string source = facts.prompt_source == "self_generated"
                           ? "prompts the teacher wrote itself"
                           : (facts.prompt_source.empty() ? std::string() : "prompts from " + facts.prompt_source);
  if (facts.answer_tokens > 0) {
    source += (source.empty() ? "" : "; ") + human_count(facts.answer_tokens) + " answer tokens";
    if (facts.user_tokens > 0) source += " and " + human_count(facts.user_tokens) + " tokens of prompts";
  }
  if (facts.truncated_answers > 0) {
    source += "; " + human_count(facts.truncated_answers) + " answers cut at the limit, kept";
  }
  const std::string left_out = prompt_rows_text(facts);
  if (!left_out.empty()) source += (source.empty() ? "" : "; ") + left_out;
  steps.push_back({{"label", "Collected"}, {"count", facts.collected}, {"note", source}});
  for (const DropFacts& drop : facts.dropped) {
    if (drop.exchanges > 0) {
      steps.push_back({{"label", in_words(drop.reason)}, {"count", drop.exchanges}, {"dropped", true}});
    }
  }
  steps.push_back({{"label", "Kept"}, {"count", facts.kept}});
  steps.push_back({{"label", "Trained on"}, {"count", facts.train_exchanges}});
  steps.push_back({{"label", "Held out"},
                   {"count", facts.held_out_exchanges},
                   {"note", "split by prompt: no prompt stands on both sides"}});
  blocks.push_back({{"type", "funnel"}, {"steps", std::move(steps)}});
  return section("From answers to data", std::move(blocks));
}

Json stages_section(const RunFacts& facts) {
  Json blocks = Json::array();
  if (facts.stages.empty()) return section("Time and tokens", std::move(blocks));
  Json stages = Json::array();
  for (const StageFacts& stage : facts.stages) {
    std::string detail = stage.summary;
    if (stage.tokens > 0) {
      detail += (detail.empty() ? "" : " · ") + human_count(stage.tokens) + " tokens";
      if (stage.seconds >= 1) {
        detail +=
            ", " + human_count(std::llround(static_cast<double>(stage.tokens) / stage.seconds)) + " a second overall";
      }
    }
    stages.push_back({{"name", stage.name}, {"seconds", stage.seconds}, {"detail", detail}});
  }
  blocks.push_back({{"type", "timeline"}, {"stages", std::move(stages)}});
  if (!facts.type_speeds.empty()) {
    Json bars = Json::array();
    for (const TypeSpeedFacts& speed : facts.type_speeds) {
      bars.push_back({{"label", speed.type},
                      {"value", speed.tokens_per_s},
                      {"role", "teacher"},
                      {"hollow", &speed != &facts.type_speeds.front()},
                      {"text", fixed_text(speed.tokens_per_s, 0)}});
    }
    std::string description = "The teacher decoding many sequences at once, by file type; collected in the filled one.";
    if (facts.collect_tokens_per_s > 0) {
      description += " Collection itself ran at " + fixed_text(facts.collect_tokens_per_s, 0) + " tokens per second.";
    }
    blocks.push_back({{"type", "bar_chart"},
                      {"title", "The type that collects fastest here"},
                      {"description", description},
                      {"axis_label", "tokens per second"},
                      {"bars", std::move(bars)}});
  }
  return section("Time and tokens", std::move(blocks));
}

// What fitting the layers before training gave; nothing without it.
void add_fit(const RunFacts& facts, Json& blocks) {
  if (!facts.fit) return;
  const FitFacts& fit = *facts.fit;
  std::string description = "Before training, ffn_down of each layer was set by least squares, on " +
                            human_count(fit.tokens) +
                            " tokens, so that the layer gives what the teacher gives in its place.";
  if (fit.kl_before && fit.kl_after) {
    description += " That brought the KL on held-out exchanges from " + fixed_text(*fit.kl_before, 2) + " to " +
                   fixed_text(*fit.kl_after, 2) + " nats per token, before a step of training.";
  }
  const auto points = [](const std::vector<double>& errors) {
    Json list = Json::array();
    for (std::size_t i = 0; i < errors.size(); ++i) list.push_back({static_cast<double>(i), errors[i]});
    return list;
  };
  blocks.push_back(
      {{"type", "line_chart"},
       {"title", "How far each layer's output is from the teacher's"},
       {"description", description},
       {"x_label", "layer of the student"},
       {"y_label", "squared distance, as a share"},
       {"y_from_zero", true},
       {"series",
        {{{"name", "as cut, behind fitted layers"},
          {"points", points(fit.errors_before)},
          {"role", "before"},
          {"dots", true}},
         {{"name", "fitted"}, {"points", points(fit.errors_after)}, {"role", "student"}, {"dots", true}}}}});
}

Json layers_section(const RunFacts& facts) {
  Json blocks = Json::array();
  if (facts.layers.empty()) return section("The choice of layers", std::move(blocks));
  Json bars = Json::array();
  Json curve = Json::array();
  std::vector<const LayerFacts*> removed;
  for (const LayerFacts& layer : facts.layers) {
    bars.push_back({{"label", "layer " + std::to_string(layer.layer)},
                    {"value", layer.block_influence},
                    {"role", "student"},
                    {"hollow", !layer.kept},
                    {"text", fixed_text(layer.block_influence, 3)}});
    if (layer.removed_at >= 0) removed.push_back(&layer);
  }
  std::sort(removed.begin(), removed.end(),
            [](const LayerFacts* a, const LayerFacts* b) { return a->removed_at < b->removed_at; });
  std::string order;
  for (std::size_t i = 0; i < removed.size(); ++i) {
    curve.push_back({static_cast<double>(i + 1), removed[i]->kl_after_removal});
    order += (i == 0 ? "" : ", ") + std::to_string(removed[i]->layer);
  }
  std::string method = "The layers were given in the recipe.";
  if (facts.layer_method == "greedy_kl") {
    method =
        "Layers were taken out one at a time: always the one whose absence raised the KL to the whole model least, "
        "measured "
        "anew after each.";
  } else if (facts.layer_method == "block_influence") {
    method =
        "The layers that change their input least were left out (block influence; Men et al., arXiv 2403.03853). The "
        "last is kept: its influence says little of what it is needed for.";
  }
  const bool influence = std::any_of(facts.layers.begin(), facts.layers.end(),
                                     [](const LayerFacts& layer) { return layer.block_influence != 0; });
  if (curve.size() >= 2) {
    blocks.push_back(
        {{"type", "line_chart"},
         {"title", "KL of the cut as layers go"},
         {"description", "In this order: " + order + "."},
         {"x_label", "layers taken out"},
         {"y_label", "nats per token"},
         {"y_from_zero", true},
         {"series", {{{"name", "KL before training"}, {"points", curve}, {"role", "before"}, {"dots", true}}}}});
  }
  add_fit(facts, blocks);
  if (influence) {
    blocks.push_back({{"type", "bar_chart"},
                      {"title", "Block influence"},
                      {"description",
                       "How far a layer turns the hidden state, 1 − cosine of what enters and what leaves it. "
                       "Hollow: left out."},
                      {"bars", std::move(bars)}});
  }
  std::string kept;
  for (const LayerFacts& layer : facts.layers) {
    if (layer.kept) kept += (kept.empty() ? "" : ", ") + std::to_string(layer.layer);
  }
  blocks.push_back({{"type", "text"}, {"style", "note"}, {"text", "Kept, numbered from 0: " + kept + "."}});
  return section("The choice of layers", std::move(blocks), method);
}

Json provenance_section(const RunFacts& facts) {
  Json items = Json::array();
  const auto item = [&items](const std::string& label, const std::string& value, const std::string& digest = {},
                             const std::string& note = {}) {
    if (value.empty()) return;
    items.push_back({{"label", label}, {"value", value}, {"digest", digest}, {"note", note}});
  };
  std::string teacher = facts.teacher.name;
  if (!facts.teacher_type.empty()) teacher += " (" + facts.teacher_type + ")";
  std::string answered = facts.teacher.run_as.empty() ? "" : "Answered as " + facts.teacher.run_as + ".";
  if (!facts.served_as.empty()) {
    answered = "Answered over the " + facts.served_api + " API as " + facts.served_as + ".";
    if (facts.text_alone) {
      answered += std::string(" Its file wasn't at hand: nothing is known of it but these answers") +
                  (facts.learnt_from_logprobs ? ", and what it told of their tokens' probabilities." : ".");
    }
  }
  item("Teacher", teacher, facts.teacher.file_digest == Digest{} ? "" : "SHA-256 " + facts.teacher.file_digest.hex(),
       answered);
  if (facts.text_alone) {
    item("Base", facts.base.name + " (" + facts.base_type + ")", "SHA-256 " + facts.base.file_digest.hex(),
         "What the student was cut from; tokenizer and chat template are its own.");
  }
  if (!(facts.teacher.template_digest == Digest{})) {
    item("Chat template", "the file's own", "SHA-256 " + facts.teacher.template_digest.hex());
  }
  const std::string licence = text_member(facts.terms, "licence_name").empty()
                                  ? text_member(facts.terms, "licence")
                                  : text_member(facts.terms, "licence_name");
  // "verdict", "clause", "source": as runs before terms had routes and purposes wrote them.
  std::string verdict = text_member(facts.terms, "decision");
  if (verdict.empty()) verdict = text_member(facts.terms, "verdict");
  std::replace(verdict.begin(), verdict.end(), '_', ' ');
  if (!licence.empty() || !verdict.empty()) {
    std::string note = text_member(facts.terms, "explanation");
    if (note.empty()) note = text_member(facts.terms, "clause");
    if (const std::string by = text_member(facts.terms, "accepted_by"); !by.empty()) note += " Accepted by " + by + ".";
    item("Terms", (licence.empty() ? "no licence" : licence) + ": " + verdict, "", note + " Not legal advice.");
  }
  if (facts.terms.is_object() && facts.terms.contains("authorisation") && facts.terms["authorisation"].is_object()) {
    const Json& given = facts.terms["authorisation"];
    const std::string until = text_member(given, "expires");
    item("Authorisation", text_member(given, "by") + ": " + text_member(given, "scope"),
         "SHA-256 " + text_member(given, "document"), until.empty() ? "" : "Until " + until + ".");
  }
  for (const terms::Obligation& obligation : terms::obligations_from_json(facts.terms)) {
    item("Obligation", obligation.value, "", obligation.when.empty() ? "" : "When " + obligation.when + ".");
  }
  for (const exporter::CarriedDuty& duty : exporter::duties_from_json(facts.duties)) {
    item(duty.state == exporter::DutyState::kDone ? "Done for it" : "Left to a person", duty.sentence);
  }
  const HeldOut& held_out = facts.scorecard.held_out;
  if (held_out.max_tokens > 0) {
    item("Sampling", "temperature " + fixed_text(held_out.temperature, 2) + ", top-p " + fixed_text(held_out.top_p, 2) +
                         ", at most " + human_count(held_out.max_tokens) + " tokens an answer");
  }
  item("Program", facts.code_version.empty() ? "" : "Retort " + facts.code_version);
  item("Machine", facts.machine);
  Json blocks = Json::array();
  if (!items.empty()) blocks.push_back({{"type", "provenance"}, {"items", std::move(items)}});
  return section("Provenance and terms", std::move(blocks));
}

Json repeat_section(const RunFacts& facts) {
  Json blocks = Json::array();
  if (!facts.command.empty()) {
    blocks.push_back({{"type", "code"}, {"caption", "The command of this run."}, {"text", facts.command}});
  }
  if (!facts.recipe_yaml.empty()) {
    blocks.push_back(
        {{"type", "code"}, {"caption", "The recipe with every default written out."}, {"text", facts.recipe_yaml}});
  }
  return section("Repeat it", std::move(blocks));
}

}  // namespace retort::pipeline
