#include "terms/terms.h"

#include <algorithm>

#include "base/json.h"
#include "base/text.h"

namespace retort::terms {
namespace {

constexpr std::string_view kNotAdvice = "This is not legal advice: read the licence.";

std::string in_recipe(std::string_view licence) {
  return "write in the recipe:\n  terms:\n    accepted_by: <your name>\n    accepted_licence: " + std::string(licence);
}

bool made_of_weights(const Purpose& purpose) {
  return std::find(purpose.uses.begin(), purpose.uses.end(), Use::kWeights) != purpose.uses.end();
}

// GGUF files of "other" licences name them in general.license.name.
std::string declared_text(const Declared& declared) {
  const std::string plain = to_lower_ascii(trim(declared.licence));
  if ((plain.empty() || plain == "other" || plain == "unknown") && !trim(declared.licence_name).empty()) {
    return std::string(trim(declared.licence_name));
  }
  if (plain == "unknown" || plain == "other") return {};
  return std::string(trim(declared.licence));
}

std::string model_text(const Declared& declared) {
  return declared.model_name.empty() ? "The model" : "The model '" + declared.model_name + "'";
}

void fill_in(Decision& decision, const Licence& licence, const Purpose& purpose) {
  decision.verdict = made_of_weights(purpose) ? licence.derivative : licence.outputs;
  decision.licence_id = licence.id;
  decision.licence_name = licence.name;
  decision.clause = licence.clause;
  if (decision.verdict != Verdict::kAllowed) {
    for (const std::string_view obligation : licence.obligations) decision.obligations.emplace_back(obligation);
  }
  decision.source = licence.source;
  decision.read_on = licence.read_on;
  decision.primary = licence.primary;
}

bool same_licence(std::string_view a, std::string_view b) {
  const Licence* known_a = find_licence(a);
  const Licence* known_b = find_licence(b);
  if (known_a != nullptr || known_b != nullptr) return known_a == known_b;
  return to_lower_ascii(trim(a)) == to_lower_ascii(trim(b));
}

}  // namespace

std::string_view name_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::kAllowed: return "allowed";
    case Verdict::kAllowedWithObligations: return "allowed_with_obligations";
    case Verdict::kNeedsAuthorisation: return "needs_authorisation";
    case Verdict::kRefused: return "refused";
    case Verdict::kUnknown: return "unknown";
  }
  return "unknown";
}

std::string_view name_of(Use use) {
  switch (use) {
    case Use::kOutputs: return "outputs";
    case Use::kLogprobs: return "logprobs";
    case Use::kWeights: return "weights";
  }
  return "outputs";
}

std::string Decision::record() const {
  std::string line =
      (licence_id.empty() ? std::string("no licence") : licence_id) + ": " + std::string(name_of(verdict));
  if (!accepted_by.empty()) line += " (accepted by " + accepted_by + ")";
  return line;
}

Json to_json(const Decision& decision) {
  return Json{{"verdict", name_of(decision.verdict)},
              {"licence", decision.licence_id},
              {"licence_name", decision.licence_name},
              {"licence_link", decision.licence_link},
              {"clause", decision.clause},
              {"obligations", decision.obligations},
              {"source", decision.source},
              {"read_on", decision.read_on},
              {"primary", decision.primary},
              {"accepted_by", decision.accepted_by},
              {"explanation", decision.explanation}};
}

Decision decide(const Declared& declared, const Purpose& purpose, const Acceptance& acceptance) {
  Decision decision;
  decision.licence_link = declared.licence_link;
  const std::string accepted_by(trim(acceptance.by));
  const std::string accepted_licence(trim(acceptance.licence));
  const std::string in_file = declared_text(declared);
  const std::string model = model_text(declared);
  const bool accepted = !accepted_by.empty() && !accepted_licence.empty();

  if (!in_file.empty() && !accepted_licence.empty() && !same_licence(in_file, accepted_licence)) {
    decision.licence_id = in_file;
    decision.explanation = model + " says that its licence is '" + in_file + "', but the recipe accepts '" +
                           accepted_licence +
                           "' (terms.accepted_licence); expected the same. Correct or remove that key.";
    return decision;
  }
  // A file that says nothing goes by what the person named.
  const std::string licence_text = in_file.empty() ? (accepted ? accepted_licence : std::string()) : in_file;
  const Licence* known = find_licence(licence_text);
  decision.licence_id = licence_text;
  if (accepted) decision.accepted_by = accepted_by;

  if (licence_text.empty()) {
    decision.explanation = model +
                           " doesn't say under which licence it is (general.license is missing). Find out, and " +
                           in_recipe("<its licence, for example apache-2.0>");
    return decision;
  }
  if (known == nullptr) {
    decision.licence_name = declared.licence_name;
    if (accepted) {
      decision.verdict = Verdict::kAllowedWithObligations;
      decision.obligations = {"Keep to the terms of '" + licence_text + "', as read by " + accepted_by + "."};
      decision.clause = "Not known to Retort.";
      decision.source = declared.licence_link.empty() ? "the recipe" : declared.licence_link;
      decision.explanation = accepted_by + " accepted '" + licence_text + "' for this use.";
      return decision;
    }
    decision.explanation = model + " is under '" + licence_text + "', which Retort doesn't know" +
                           (declared.licence_link.empty() ? std::string() : " (" + declared.licence_link + ")") +
                           ". Read whether it lets its outputs train another model, and if so " +
                           in_recipe(licence_text);
    return decision;
  }

  fill_in(decision, *known, purpose);
  const std::string because = " (" + std::string(known->clause) + " Source: " + std::string(known->source) + ", " +
                              (known->primary ? "read " : "read in quotations ") + std::string(known->read_on) + ".)";
  switch (decision.verdict) {
    case Verdict::kAllowed:
    case Verdict::kAllowedWithObligations:
      decision.explanation = std::string(known->name) + " allows it." + because;
      break;
    case Verdict::kNeedsAuthorisation:
      if (accepted) {
        decision.verdict = Verdict::kAllowedWithObligations;
        decision.explanation =
            accepted_by + " says that this use is permitted under " + std::string(known->name) + "." + because;
      } else {
        decision.explanation = model + " is under the " + std::string(known->name) +
                               ", which allows this use only in part" + because + " If yours is permitted, " +
                               in_recipe(known->id);
      }
      break;
    case Verdict::kRefused:
      decision.explanation = model + " is under the " + std::string(known->name) +
                             ", which doesn't let its outputs train this student" + because +
                             " Use another teacher, or a student cut from this one. " + std::string(kNotAdvice);
      break;
    case Verdict::kUnknown:
      if (accepted) decision.verdict = Verdict::kAllowedWithObligations;
      break;
  }
  return decision;
}

Result<Decision> admit(const Declared& declared, const Purpose& purpose, const Acceptance& acceptance) {
  Decision decision = decide(declared, purpose, acceptance);
  if (!decision.may_proceed()) return caller_error(decision.explanation);
  return decision;
}

}  // namespace retort::terms
