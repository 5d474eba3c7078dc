// From facts to a decision: which texts apply, what each says, the strictest of them, and what lifts it.

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "terms/facts.h"

namespace retort::terms {
namespace {

constexpr std::string_view kNotAdvice = "This is not legal advice: read the terms.";

// One text that applies, or one thing that isn't known.
struct Part {
  const Text* text = nullptr;
  std::string unknown = {};        // a sentence, where there is no text
  std::string origin = {};         // what it is that isn't known
  const Family* family = nullptr;  // by which name the text was found, if by a name
};

struct Facts {
  const Query& query;
  bool derivative;
  bool multimodal;
  std::string region;
};

bool fits(const When& when, const Facts& facts) {
  const Query& query = facts.query;
  if (when.derivative && *when.derivative != facts.derivative) return false;
  if (when.distributed && *when.distributed != query.distributed) return false;
  if (when.commercial && *when.commercial != query.commercial) return false;
  if (when.multimodal && *when.multimodal != facts.multimodal) return false;
  if (!when.purposes.empty() &&
      std::find(when.purposes.begin(), when.purposes.end(), query.purpose) == when.purposes.end()) {
    return false;
  }
  if (!when.regions.empty() && !in_regions(facts.region, when.regions)) return false;
  return when.users_above == 0 || query.monthly_users > when.users_above;
}

// GGUF files of "other" licences name them in general.license.name.
std::string declared_text(const Declared& declared) {
  const std::string plain = to_lower_ascii(trim(declared.licence));
  if (plain.empty() || plain == "other" || plain == "unknown") return std::string(trim(declared.licence_name));
  return std::string(trim(declared.licence));
}

bool same_licence(std::string_view a, std::string_view b) {
  const Text* known_a = find_licence(a);
  const Text* known_b = find_licence(b);
  if (known_a != nullptr || known_b != nullptr) return known_a == known_b;
  return to_lower_ascii(trim(a)) == to_lower_ascii(trim(b));
}

std::string model_text(const Query& query) {
  const std::string name = query.model.empty() && query.declared ? query.declared->model_name : query.model;
  return name.empty() ? "The model" : "The model '" + name + "'";
}

std::string say_licence(std::string_view licence) {
  return "write in the recipe:\n  terms:\n    accepted_by: <your name>\n    accepted_licence: " + std::string(licence);
}

class Judge {
 public:
  explicit Judge(const Query& query) : query_(query) { decision_.query = query; }

  Decision judge() {
    if (!query_.terms_version.empty() && query_.terms_version != kTermsVersion) {
      decision_.explanation = "The terms of " + query_.terms_version + " were asked for; this program holds those of " +
                              std::string(kTermsVersion) + ". Ask without a version, or use the program that has them.";
      return std::move(decision_);
    }
    if (contradicted()) return std::move(decision_);
    find_parts();
    apply_parts();
    lift();
    explain();
    return std::move(decision_);
  }

 private:
  // A file says one licence and the recipe another: neither is believed.
  bool contradicted() {
    const std::string accepted(trim(query_.acceptance.licence));
    const std::string in_file = query_.declared ? declared_text(*query_.declared) : std::string();
    if (in_file.empty() || accepted.empty() || same_licence(in_file, accepted)) return false;
    decision_.licence_id = in_file;
    decision_.explanation = model_text(query_) + " says that its licence is '" + in_file +
                            "', but the recipe accepts '" + accepted +
                            "' (terms.accepted_licence); expected the same. Correct or remove that key.";
    return true;
  }

  void add_text(const Text* text, const Family* family = nullptr) {
    const bool there = std::any_of(parts_.begin(), parts_.end(), [&](const Part& part) { return part.text == text; });
    if (!there) parts_.push_back({text, {}, std::string(text->id), family});
  }
  void add_unknown(std::string sentence, std::string origin) {
    parts_.push_back({nullptr, std::move(sentence), std::move(origin), nullptr});
  }

  void add_family(const Family& family) {
    for (const std::string_view id : family.texts) {
      const Text* text = find_text(id);
      RETORT_CHECK(text != nullptr);
      add_text(text, &family);
      if (text->licence && decision_.licence_id.empty()) decision_.licence_id = text->id;
    }
    if (family.texts.empty()) {
      add_unknown(
          model_text(query_) + " is of the family '" + std::string(family.name) +
              "', whose members stand under different terms, and its name doesn't say which (its size may). Give the "
              "whole name, or find out.",
          std::string(family.name));
    }
  }

  // What a person said of a model that says nothing itself. False: nobody did.
  bool add_accepted() {
    const std::string by(trim(query_.acceptance.by));
    const std::string licence(trim(query_.acceptance.licence));
    if (by.empty() || licence.empty()) return false;
    decision_.accepted_by = by;
    add_licence(licence,
                by + " says that " + model_text(query_) + " is under '" + licence + "', which Retort doesn't know");
    return true;
  }

  void add_licence(const std::string& licence, const std::string& unknown) {
    decision_.licence_id = licence;
    if (const Text* text = find_licence(licence); text != nullptr) {
      decision_.licence_id = text->id;
      return add_text(text);
    }
    const std::string link = query_.declared ? query_.declared->licence_link : std::string();
    if (query_.declared) decision_.licence_name = query_.declared->licence_name;
    add_unknown(
        unknown + (link.empty() ? "" : " (" + link + ")") + ". Read whether it lets its outputs train another model.",
        licence);
  }

  void find_families() {
    std::vector<std::string> names = {query_.model};
    if (query_.declared) {
      names.push_back(query_.declared->model_name);
      names.insert(names.end(), query_.declared->other_names.begin(), query_.declared->other_names.end());
    }
    for (const std::string& name : names) {
      const Family* family = find_family(name);
      if (family == nullptr || std::find(families_.begin(), families_.end(), family) != families_.end()) continue;
      families_.push_back(family);
      multimodal_ = multimodal_ || family->multimodal;
    }
  }

  void find_parts() {
    find_families();
    const bool hosted = !trim(query_.route).empty() && !is_own_route(query_.route);
    if (query_.declared) find_parts_of_file();
    if (hosted) find_parts_of_route();
    if (query_.declared || hosted) return;
    for (const Family* family : families_) add_family(*family);
    const bool accepted = add_accepted();
    if (!families_.empty() || accepted) return;
    add_unknown(model_text(query_) +
                    " is in no table of Retort. Find out under which terms it is; if it is yours, or its licence is "
                    "known, " +
                    say_licence("<its licence, for example apache-2.0>"),
                "no licence");
  }

  void find_parts_of_file() {
    decision_.licence_link = query_.declared->licence_link;
    const std::string in_file = declared_text(*query_.declared);
    bool said = false;
    if (!in_file.empty()) {
      add_licence(in_file, model_text(query_) + " is under '" + in_file + "', which Retort doesn't know");
      said = true;
      if (!trim(query_.acceptance.licence).empty()) decision_.accepted_by = std::string(trim(query_.acceptance.by));
    } else {
      said = add_accepted();
    }
    // Metadata lies: names count beside it, and the strictest wins. A name that leaves it open adds nothing to a word.
    for (const Family* family : families_) {
      if (!family->texts.empty()) add_family(*family);
      said = said || !family->texts.empty();
    }
    if (said) return;
    if (!families_.empty()) return add_family(*families_.front());
    add_unknown(model_text(query_) +
                    " doesn't say under which licence it is (general.license is missing). Find out, and " +
                    say_licence("<its licence, for example apache-2.0>"),
                "no licence");
  }

  void find_parts_of_route() {
    const Provider* provider = find_provider(query_.route);
    if (provider == nullptr) {
      add_unknown("The terms of the route '" + query_.route +
                      "' are in no table of Retort. Read whether they let outputs train another model. If it is an "
                      "endpoint of your own that serves open weights, write route: own.",
                  "route " + query_.route);
    } else {
      for (const std::string_view id : provider->texts) {
        const Text* text = find_text(id);
        RETORT_CHECK(text != nullptr);
        add_text(text);
      }
    }
    // Who asks a maker's own API gets no weights, so the weights' licence isn't what binds.
    for (const Family* family : families_) {
      if (provider == nullptr || family->maker != provider->id) add_family(*family);
    }
    const bool model_matters = provider == nullptr || provider->hosts_others;
    if (families_.empty() && model_matters && !query_.declared && !add_accepted()) {
      add_unknown(model_text(query_) + " is in no table of Retort. Find out under which terms it is.", "no licence");
    }
  }

  bool is_derivative(const Text& text) const {
    if (text.licence && query_.relation == Relation::kWeights) return true;
    const Family* student = query_.student.empty() ? nullptr : find_family(query_.student);
    if (student == nullptr) return false;
    return std::find(student->texts.begin(), student->texts.end(), text.id) != student->texts.end();
  }

  void add_clause(const Text& text, std::string_view quote) {
    if (quote.empty()) return;
    const Clause clause{std::string(quote), std::string(text.source), std::string(text.date), text.primary,
                        std::string(text.id)};
    auto& all = decision_.clauses;
    if (std::find(all.begin(), all.end(), clause) == all.end()) all.push_back(clause);
  }

  void add_family_clause(const Family& family, const Text& text) {
    if (family.source.empty()) return;
    std::string name(family.name);
    if (!family.size.empty()) name += " " + std::string(family.size);
    decision_.clauses.push_back({name + " is published under the " + std::string(text.name) + ".",
                                 std::string(family.source), std::string(kTermsVersion), family.primary,
                                 std::string(text.id)});
  }

  void add_obligation(const Text& text, const Duty& duty) {
    Obligation obligation{duty.kind, std::string(duty.value), std::string(duty.binds), std::string(text.id)};
    decision_.obligations.push_back(std::move(obligation));
    add_clause(text, duty.quote);
  }

  void apply_parts() {
    decision_.verdict = Verdict::kAllowed;
    // What decides comes first.
    std::vector<std::pair<Verdict, const Part*>> verdicts;
    for (const Part& part : parts_) verdicts.emplace_back(verdict_of(part), &part);
    std::stable_sort(verdicts.begin(), verdicts.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    for (const auto& [verdict, part] : verdicts) {
      decision_.verdict = std::max(decision_.verdict, verdict);
      if (verdict == Verdict::kRefused) ++refusals_;
      if (part->text == nullptr) {
        sentences_ += (sentences_.empty() ? "" : " ") + part->unknown;
        decision_.origins.push_back(part->origin);
        continue;
      }
      const Text& text = *part->text;
      const Facts facts = facts_of(text);
      const Rule& rule = rule_of(text, facts);
      decision_.origins.emplace_back(text.id);
      if (text.licence && text.id == decision_.licence_id) decision_.licence_name = text.name;
      if (part->family != nullptr) add_family_clause(*part->family, text);
      add_clause(text, rule.quote);
      tell_of_regions(text, facts);
      for (const Duty& duty : text.duties) {
        if (fits(duty.when, facts)) add_obligation(text, duty);
      }
      sentences_ += (sentences_.empty() ? "" : " ") + sentence_of(text, rule, verdict);
    }
    if (decision_.verdict == Verdict::kAllowed && !decision_.obligations.empty()) {
      decision_.verdict = Verdict::kAllowedWithObligations;
    }
  }

  // What would hold elsewhere is told when nobody said where it is used.
  void tell_of_regions(const Text& text, const Facts& facts) {
    if (!facts.region.empty()) return;
    for (const Rule& rule : text.rules) {
      When elsewhere = rule.when;
      elsewhere.regions.clear();
      if (rule.when.regions.empty() || !fits(elsewhere, facts)) continue;
      add_clause(text, rule.quote);
      notes_ += " It isn't said where it is used (region): " + std::string(rule.quote);
    }
  }

  Facts facts_of(const Text& text) const {
    return {query_, is_derivative(text), multimodal_, region_code(query_.region)};
  }
  static const Rule& rule_of(const Text& text, const Facts& facts) {
    for (const Rule& rule : text.rules) {
      if (fits(rule.when, facts)) return rule;
    }
    return text.rules.back();
  }
  Verdict verdict_of(const Part& part) const {
    if (part.text == nullptr) return Verdict::kUnknown;
    return rule_of(*part.text, facts_of(*part.text)).verdict;
  }

  std::string sentence_of(const Text& text, const Rule& rule, Verdict verdict) const {
    std::string what = " allows it";
    if (verdict == Verdict::kNeedsAuthorisation) what = " asks for an authorisation";
    if (verdict == Verdict::kUnknown) what = " was not found to say whether it may";
    if (verdict == Verdict::kRefused) what = " doesn't let what it covers train this student";
    return "The " + std::string(text.name) + what + ": " + std::string(rule.quote) +
           " Source: " + std::string(text.source) + ", of " + std::string(text.date) + ", " +
           (text.primary ? "read in the original." : "not read in the original.");
  }

  void lift() {
    const Authorisation& authorisation = query_.authorisation;
    if (!authorisation.given()) return;
    problem_ = problem_of(authorisation, query_.today);
    if (!problem_.empty()) return;
    decision_.authorisation = authorisation;
    const Verdict before = decision_.verdict;
    if (before == Verdict::kAllowed || before == Verdict::kAllowedWithObligations) return;
    if (refusals_ > 0 && !authorisation.from_licensor) {
      problem_ = "a refusal is lifted only by the licensor's own (from_licensor)";
      return;
    }
    if (refusals_ > 1) {
      problem_ = "several texts refuse, and one licensor's word doesn't lift another's";
      return;
    }
    decision_.lifted = before;
    decision_.verdict = Verdict::kAllowedWithObligations;
    decision_.obligations.push_back({ObligationKind::kNotice,
                                     "Keep within the authorisation of " + authorisation.by + " (document " +
                                         authorisation.document.substr(0, 12) + "…): " + authorisation.scope +
                                         (authorisation.expires.empty() ? "" : ", until " + authorisation.expires),
                                     {},
                                     "authorisation"});
  }

  void explain() {
    std::string& text = decision_.explanation;
    text = sentences_ + notes_;
    if (decision_.lifted) {
      text += " " + query_.authorisation.by + " authorised it (" + query_.authorisation.scope + ").";
      return;
    }
    if (decision_.may_proceed()) return;
    if (decision_.verdict == Verdict::kRefused) {
      text += " Use another teacher, or an authorisation of the licensor itself.";
    } else {
      text +=
          " Whoever may permit it is recorded in the recipe:\n  teacher:\n    terms:\n      authorisation: {by: <who>, "
          "document: <SHA-256 of the document>, scope: <what it permits>, expires: <date>}\n";
    }
    if (!problem_.empty()) text += " The recorded authorisation doesn't lift it: " + problem_ + ".";
    text += (text.ends_with('\n') ? "" : " ") + std::string(kNotAdvice);
  }

  const Query& query_;
  Decision decision_;
  std::vector<const Family*> families_;  // by any of the model's names
  std::vector<Part> parts_;
  bool multimodal_ = false;
  int refusals_ = 0;
  std::string sentences_;
  std::string notes_;
  std::string problem_;  // why the authorisation doesn't lift it
};

}  // namespace

Decision decide(const Query& query) { return Judge(query).judge(); }

Result<Decision> admit(const Query& query) {
  Decision decision = decide(query);
  if (!decision.may_proceed()) return caller_error(decision.explanation);
  return decision;
}

}  // namespace retort::terms
