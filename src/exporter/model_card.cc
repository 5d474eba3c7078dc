#include "exporter/model_card.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/text.h"
#include "exporter/duties.h"

namespace retort::exporter {
namespace {

std::string fixed(double value, int digits) {
  std::array<char, 64> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%.*f", digits, value);
  return buffer.data();
}

// A YAML scalar that any text may stand in.
std::string quoted(const std::string& text) { return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace); }

// Text in a table's cell or a line of Markdown.
std::string plain(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '|' || c == '<' || c == '`') out += '\\';
    out += c == '\n' || c == '\r' ? ' ' : c;
  }
  return out;
}

std::string estimate(const std::optional<Estimate>& value, int digits, double scale = 1, const std::string& unit = "") {
  if (!value) return "-";
  std::string text = fixed(value->value * scale, digits);
  if (value->low != value->high) {
    text += " (" + fixed(value->low * scale, digits) + " to " + fixed(value->high * scale, digits) + ")";
  }
  return text + unit;
}

std::string text_member(const Json& json, const char* key) {
  const auto found = json.is_object() ? json.find(key) : json.end();
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// The hub knows some licences by an id of their own; any other is "other", with its name and link.
std::string licence_fields(const Lineage& lineage) {
  constexpr std::array<std::string_view, 9> kKnown = {"apache-2.0", "mit",      "llama2", "llama3", "llama3.1",
                                                      "llama3.2",   "llama3.3", "llama4", "gemma"};
  const std::string& licence = lineage.origin().licence;
  if (std::find(kKnown.begin(), kKnown.end(), licence) != kKnown.end()) return "license: " + quoted(licence) + "\n";
  std::string out = "license: \"other\"\n";
  if (!licence.empty()) out += "license_name: " + quoted(licence) + "\n";
  const std::string link = text_member(lineage.terms, "licence_link");
  return link.empty() ? out : out + "license_link: " + quoted(link) + "\n";
}

std::string front_matter(const CardFacts& facts) {
  const TeacherOrigin& origin = facts.lineage.origin();
  const bool known_repository = !origin.repository.empty() && origin.repository.find("://") == std::string::npos;
  std::string out = "---\n";
  out += licence_fields(facts.lineage);
  if (known_repository) {
    out += "base_model: " + quoted(origin.repository) + "\n";
    out += "base_model_relation: finetune\n";
  }
  if (!facts.languages.empty()) {
    out += "language:\n";
    for (const std::string& language : facts.languages) out += "- " + quoted(language) + "\n";
  }
  out += "library_name: gguf\npipeline_tag: text-generation\n";
  out += "tags:\n- distillation\n- layer-pruning\n- gguf\n- llama.cpp\n- retort\n---\n";
  return out;
}

std::string results(const Scorecard& scorecard, bool text_alone) {
  std::string out = "## What was kept and what was lost\n\n";
  out += "Measured on " + human_count(scorecard.held_out.exchanges) + " held-out exchanges (" +
         human_count(scorecard.held_out.tokens) + " tokens";
  if (scorecard.held_out.max_tokens > 0) {
    out += ", sampled from the teacher at temperature " + fixed(scorecard.held_out.temperature, 2) + ", top-p " +
           fixed(scorecard.held_out.top_p, 2) + ", cut at " + human_count(scorecard.held_out.max_tokens) + " tokens";
  }
  out += ") on these files in llama.cpp. In brackets: 95 % bootstrap interval over exchanges.";
  if (text_alone) {
    out +=
        " The teacher gave its text alone, so nothing here compares whole distributions: perplexity is that of its "
        "answers, and KL, where there is one, is estimated from the log-probabilities of the words it drew.";
  }
  out += "\n\n";
  out +=
      "| model | type | layers | KL(teacher ‖ model), nats/token | top-1 agreement | perplexity | size | prefill tok/s "
      "| decode tok/s |\n|---|---|---|---|---|---|---|---|---|\n";
  const auto row = [&](const std::string& role, const ModelScore& score) {
    out += "| " + role + " | " + plain(score.type) + " | " + std::to_string(score.layers) + " | " +
           estimate(score.kl_nats, 3) + " | " + estimate(score.top1_agreement, 1, 100, " %") + " | " +
           estimate(score.perplexity, 2) + " | " +
           (score.size_bytes ? human_bytes(static_cast<std::uint64_t>(score.size_bytes->value)) : "-") + " | " +
           estimate(score.prefill_tokens_per_s, 0) + " | " + estimate(score.decode_tokens_per_s, 0) + " |\n";
  };
  if (!text_alone) row("teacher", scorecard.teacher);
  row("before training", scorecard.before);
  row("**student**", scorecard.student);
  for (const ModelScore& other : scorecard.others) row(plain(other.name), other);
  return out + "\n";
}

// For what the terms were judged: whoever does something else with the model asks again.
std::string judged_for(const Json& terms) {
  const std::string purpose = text_member(terms, "purpose");
  if (purpose.empty()) return {};
  const auto flag = [&](const char* key) { return terms.value(key, Json()) == Json(true); };
  return " Judged for purpose `" + purpose + "`, " + (flag("distributed") ? "distributed" : "not distributed") + ", " +
         (flag("commercial") ? "commercial" : "not commercial") +
         "; whoever does something else with it asks again (`retort terms`). This is not legal advice.";
}

std::string terms_section(const Lineage& lineage) {
  const bool derived =
      text_member(lineage.terms, "relation").empty() || text_member(lineage.terms, "relation") == "weights";
  const auto named = [](const std::string& licence) {
    return licence.empty() ? std::string("not stated") : "`" + licence + "`";
  };
  std::string out = "## Licence and terms\n\n";
  if (lineage.base) {
    out += "The student is derived from the weights of " + plain(lineage.base->name) + ", whose licence is " +
           named(lineage.base->licence) + ", and stands under it. " + text_member(lineage.base_terms, "explanation") +
           "\n\n";
  }
  out += "The teacher's licence is " + named(lineage.teacher.licence) +
         (derived ? "; the student is derived from its weights and stands under it."
                  : "; the student learnt from its answers.");
  if (const std::string explanation = text_member(lineage.terms, "explanation"); !explanation.empty()) {
    out += " " + plain(explanation);
  }
  out += judged_for(lineage.terms) + "\n";
  if (const std::string by = text_member(lineage.terms, "accepted_by"); !by.empty()) {
    out += "\nUnder which licence the teacher is was said by " + plain(by) + ".\n";
  }
  const auto authorisation = lineage.terms.is_object() ? lineage.terms.find("authorisation") : lineage.terms.end();
  if (authorisation != lineage.terms.end() && authorisation->is_object()) {
    out += "\nAuthorised by " + plain(text_member(*authorisation, "by")) + ": " +
           plain(text_member(*authorisation, "scope")) + " (document SHA-256 `" +
           plain(text_member(*authorisation, "document")) + "`).\n";
  }
  const std::vector<terms::Obligation> obligations = lineage.obligations();
  if (!obligations.empty()) {
    out += "\nWhat is asked of whoever passes this model on:\n\n";
    for (const terms::Obligation& one : obligations) {
      out += "- " + plain(one.value) +
             (one.kind == terms::ObligationKind::kMauLimit ? " monthly users are the limit" : "") +
             (one.when.empty() ? "" : " (when " + plain(one.when) + ")") + "\n";
    }
  }
  for (const auto& [state, title] :
       {std::pair{DutyState::kDone, "Of that was done:"}, {DutyState::kLeft, "Left to a person:"}}) {
    std::string list;
    for (const CarriedDuty& duty : duties_from_json(lineage.duties)) {
      if (duty.state == state) list += "- " + plain(duty.sentence) + "\n";
    }
    if (!list.empty()) out += std::string("\n") + title + "\n\n" + list;
  }
  return out + "\n";
}

}  // namespace

std::string model_card(const CardFacts& facts) {
  const Lineage& lineage = facts.lineage;
  std::string out = front_matter(facts);
  out += "\n# " + plain(lineage.name) + "\n\n";
  for (const Json* terms : {&lineage.terms, &lineage.base_terms}) {
    for (const std::string& line : display_lines(*terms)) out += "**" + plain(line) + "**\n\n";
  }
  out += "A smaller student of **" + plain(lineage.teacher.name) + "**: " + plain(start_text(lineage)) +
         ", trained on " +
         (lineage.teacher.has_file() ? "the teacher's own distribution" : "the text of the teacher's answers") +
         " (knowledge distillation) with Retort " + plain(lineage.code_version) +
         ". Everything below was recorded or measured in the run that made it.\n\n";
  if (lineage.origin().repository.find("://") != std::string::npos) {
    out += "Base model: <" + lineage.origin().repository + ">\n\n";
  }
  out += "## Files\n\n| file | type | size |\n|---|---|---|\n";
  for (const CardFile& file : facts.files) {
    out += "| `" + file.name + "` | " + file.type + " | " + human_bytes(file.size_bytes) + " |\n";
  }
  out += "\n```\nllama-cli -m " + (facts.files.empty() ? std::string("FILE") : facts.files.back().name) +
         "          # llama.cpp\nretort chat " + (facts.files.empty() ? std::string("FILE") : facts.files.back().name) +
         "\n```\n\n";
  if (facts.scorecard) out += results(*facts.scorecard, !lineage.teacher.has_file());
  out += "## Training data\n\n" + human_count(lineage.train_exchanges) + " exchanges to train on, " +
         human_count(lineage.held_out_exchanges) + " held out; no prompt stands on both sides. ";
  out += facts.prompt_source == "self_generated"
             ? "The teacher wrote both turns itself (self-generation); no other data was used.\n\n"
             : "Prompts: " + plain(facts.prompt_source) + ".\n\n";
  out += "`dataset.json` names every exchange by its digest.\n\n";
  out += terms_section(lineage);
  out += "## Where it comes from\n\n";
  out += "| what | SHA-256 |\n|---|---|\n";
  const TeacherOrigin& origin = lineage.origin();
  out += std::string(lineage.base ? "| base" : "| teacher") + ", `" + plain(origin.file) + "` (" + plain(origin.type) +
         ") | `" + origin.file_digest.hex() + "` |\n";
  out += "| weights after training | `" + lineage.weights.hex() + "` |\n";
  out += "| dataset | `" + lineage.dataset.hex() + "` |\n";
  out += "| recipe | `" + lineage.recipe.hex() + "` |\n\n";
  if (lineage.start.contains("from_sha256")) {
    out += "It began as `" + plain(lineage.start.value("from", "")) + "`, SHA-256 `" +
           plain(lineage.start.value("from_sha256", "")) + "`.\n";
  } else if (!lineage.start.contains("fresh")) {
    out += lineage.base ? "Layers kept of the base's:" : "Layers kept of the teacher's:";
    for (std::size_t i = 0; i < lineage.layers.size(); ++i) {
      out += (i == 0 ? " " : ", ") + std::to_string(lineage.layers[i]);
    }
    out += ".\n";
  }
  if (const auto tokens = lineage.start.value("fit_tokens", std::int64_t{0}); tokens > 0) {
    out +=
        "Before training, `ffn_down` of its layers was fitted by least squares to what the layers it was cut from "
        "give, on up to " +
        human_count(tokens) + " tokens of the dataset.\n";
  }
  if (lineage.teacher.served) {
    const ServedOrigin& served = *lineage.teacher.served;
    std::string endpoints;
    for (const std::string& url : served.endpoints) endpoints += (endpoints.empty() ? "" : ", ") + plain(url);
    out += "The teacher's answers came over the " + plain(served.api) + " API, asked as `" + plain(served.model) +
           "` at " + endpoints + ".\n";
  }
  if (lineage.teacher.has_file()) {
    out += "Quality is said against the teacher's file named above, which is of type " + plain(lineage.teacher.type) +
           ".\n\n";
  } else {
    out += "Quality is said on the teacher's answers; its own file wasn't at hand.\n\n";
  }
  if (!facts.command.empty()) out += "To make it again:\n\n```\n" + facts.command + "\n```\n\n";
  out += "To check every digest and walk this lineage: `retort verify FOLDER`.\n\n";
  out +=
      "## Limits\n\nThe student inherits the teacher's limits and biases and adds errors of its own: see the table, "
      "and "
      "try it on your own text before relying on it.\n";
  return out;
}

}  // namespace retort::exporter
