// Names, and decisions as JSON and as a line.

#include "terms/terms.h"

#include <array>
#include <utility>

#include "base/json.h"
#include "base/text.h"

namespace retort::terms {
namespace {

template <class Enum, std::size_t N>
Result<Enum> from_name(std::string_view name, const std::array<Enum, N>& all, std::string_view what) {
  std::string list;
  for (const Enum one : all) {
    if (name_of(one) == name) return one;
    list += (list.empty() ? "" : ", ") + std::string(name_of(one));
  }
  return caller_error("'" + std::string(name) + "' is no " + std::string(what) + "; expected one of: " + list + ".");
}

Json to_json(const Authorisation& authorisation) {
  return {{"by", authorisation.by},
          {"document", authorisation.document},
          {"scope", authorisation.scope},
          {"expires", authorisation.expires},
          {"from_licensor", authorisation.from_licensor}};
}

Json to_json(const Obligation& obligation) {
  Json json = {{"kind", name_of(obligation.kind)}, {"value", obligation.value}, {"origin", obligation.origin}};
  if (obligation.kind == ObligationKind::kMauLimit) json["value"] = std::stoll(obligation.value);
  if (!obligation.when.empty()) json["when"] = obligation.when;
  return json;
}

Json to_json(const Clause& clause) {
  return {{"quote", clause.quote},
          {"source", clause.source},
          {"date", clause.date},
          {"read", clause.primary ? "primary" : "secondary"},
          {"origin", clause.origin}};
}

std::string text_of(const Json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end()) return {};
  if (found->is_string()) return found->get<std::string>();
  return found->is_number_integer() ? std::to_string(found->get<std::int64_t>()) : std::string();
}

constexpr std::array kRelations = {Relation::kOutputs, Relation::kLogprobs, Relation::kWeights};
constexpr std::array kPurposes = {Purpose::kResearch, Purpose::kInternal, Purpose::kProduct, Purpose::kClassifier};
constexpr std::array kKinds = {ObligationKind::kNamePrefix, ObligationKind::kNotice, ObligationKind::kDisplay,
                               ObligationKind::kPassThrough, ObligationKind::kMauLimit};

}  // namespace

std::string_view name_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::kAllowed: return "allowed";
    case Verdict::kAllowedWithObligations: return "allowed_with_obligations";
    case Verdict::kNeedsAuthorisation: return "needs_authorisation";
    case Verdict::kUnknown: return "unknown";
    case Verdict::kRefused: return "refused";
  }
  return "unknown";
}

std::string_view name_of(Relation relation) {
  switch (relation) {
    case Relation::kOutputs: return "outputs";
    case Relation::kLogprobs: return "logprobs";
    case Relation::kWeights: return "weights";
  }
  return "outputs";
}

Result<Relation> relation_from_name(std::string_view name) { return from_name(name, kRelations, "relation"); }

std::string_view name_of(Purpose purpose) {
  switch (purpose) {
    case Purpose::kResearch: return "research";
    case Purpose::kInternal: return "internal";
    case Purpose::kProduct: return "product";
    case Purpose::kClassifier: return "classifier";
  }
  return "internal";
}

Result<Purpose> purpose_from_name(std::string_view name) { return from_name(name, kPurposes, "purpose"); }

std::string_view name_of(ObligationKind kind) {
  switch (kind) {
    case ObligationKind::kNamePrefix: return "name_prefix";
    case ObligationKind::kNotice: return "notice";
    case ObligationKind::kDisplay: return "display";
    case ObligationKind::kPassThrough: return "pass_through";
    case ObligationKind::kMauLimit: return "mau_limit";
  }
  return "notice";
}

std::string Decision::record() const {
  std::string names;
  for (const std::string& origin : origins) names += (names.empty() ? "" : " + ") + origin;
  if (names.empty()) names = licence_id.empty() ? "no licence" : licence_id;
  std::string line = names + ": " + std::string(name_of(verdict));
  std::string notes;
  const auto note = [&](const std::string& text) { notes += (notes.empty() ? "" : "; ") + text; };
  if (!accepted_by.empty()) note("accepted by " + accepted_by);
  if (authorisation) {
    std::string text = "authorised by " + authorisation->by;
    if (authorisation->from_licensor) text += ", the licensor";
    text += ", document " + authorisation->document + ", scope: " + authorisation->scope;
    if (!authorisation->expires.empty()) text += ", until " + authorisation->expires;
    note(text);
  }
  return notes.empty() ? line : line + " (" + notes + ")";
}

Json to_json(const Decision& decision) {
  const Query& query = decision.query;
  Json obligations = Json::array();
  for (const Obligation& obligation : decision.obligations) obligations.push_back(to_json(obligation));
  Json clauses = Json::array();
  for (const Clause& clause : decision.clauses) clauses.push_back(to_json(clause));
  return Json{{"model", query.model},
              {"route", query.route},
              {"relation", name_of(query.relation)},
              {"decision", name_of(decision.verdict)},
              {"obligations", std::move(obligations)},
              {"clauses", std::move(clauses)},
              {"explanation", decision.explanation},
              {"terms_version", kTermsVersion},
              {"purpose", name_of(query.purpose)},
              {"distributed", query.distributed},
              {"commercial", query.commercial},
              {"region", query.region},
              {"monthly_users", query.monthly_users},
              {"student", query.student},
              {"origins", decision.origins},
              {"licence", decision.licence_id},
              {"licence_name", decision.licence_name},
              {"licence_link", decision.licence_link},
              {"accepted_by", decision.accepted_by},
              {"accepted_licence", decision.accepted_by.empty() ? "" : query.acceptance.licence},
              {"authorisation", decision.authorisation ? to_json(*decision.authorisation) : Json()},
              {"lifted", decision.lifted ? Json(name_of(*decision.lifted)) : Json()}};
}

Query query_from_json(const Json& decision) {
  Query query;
  if (!decision.is_object()) return query;
  const auto flag = [&](const char* key) {
    const auto found = decision.find(key);
    return found != decision.end() && found->is_boolean() && found->get<bool>();
  };
  query.model = text_of(decision, "model");
  query.route = text_of(decision, "route");
  query.relation = relation_from_name(text_of(decision, "relation")).value_or(Relation::kOutputs);
  query.purpose = purpose_from_name(text_of(decision, "purpose")).value_or(Purpose::kInternal);
  query.distributed = flag("distributed");
  query.commercial = flag("commercial");
  query.region = text_of(decision, "region");
  if (const auto users = decision.find("monthly_users"); users != decision.end() && users->is_number_integer()) {
    query.monthly_users = users->get<std::int64_t>();
  }
  query.student = text_of(decision, "student");
  query.acceptance = {text_of(decision, "accepted_by"), text_of(decision, "accepted_licence")};
  if (const auto given = decision.find("authorisation"); given != decision.end() && given->is_object()) {
    const auto licensor = given->find("from_licensor");
    query.authorisation = {text_of(*given, "by"), text_of(*given, "document"), text_of(*given, "scope"),
                           text_of(*given, "expires"), licensor != given->end() && *licensor == Json(true)};
  }
  return query;
}

std::vector<Obligation> obligations_from_json(const Json& decision) {
  std::vector<Obligation> all;
  const auto list = decision.is_object() ? decision.find("obligations") : decision.end();
  if (list == decision.end() || !list->is_array()) return all;
  for (const Json& item : *list) {
    Obligation obligation;
    if (item.is_string()) {
      obligation.value = item.get<std::string>();
    } else if (item.is_object()) {
      const std::string kind = text_of(item, "kind");
      for (const ObligationKind known : kKinds) {
        if (name_of(known) == kind) obligation.kind = known;
      }
      obligation.value = text_of(item, "value");
      obligation.when = text_of(item, "when");
      obligation.origin = text_of(item, "origin");
    }
    if (!obligation.value.empty()) all.push_back(std::move(obligation));
  }
  return all;
}

}  // namespace retort::terms
