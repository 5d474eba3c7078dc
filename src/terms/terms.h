// May this teacher's output train that student? Licences and API terms as data, and a pure function over them.
//
//   terms::Query query;
//   query.model = "meta-llama/Llama-3.1-8B-Instruct";   // an id of Hugging Face, an API's id, or a file's general.name
//   query.route = "own";                                // through whom it is asked; empty: not said
//   query.distributed = true;
//   query.today = "2026-11-26";
//   const terms::Decision decision = terms::decide(query);
//
// What is known stands in licences.cc, api_terms.cc and families.cc, in our own words, with source and date. Unknown
// never means allowed: a person must take it upon themselves, in a recorded authorisation. None of this is legal
// advice.
//
// decide() is pure: no clock, no files, no state. Plain values; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json_fwd.h"

namespace retort::terms {

// The date at which the tables were last read against their sources.
inline constexpr std::string_view kTermsVersion = "2026-11-21";

enum class Verdict : std::uint8_t {
  kAllowed,
  kAllowedWithObligations,  // allowed; what must be done is listed
  kNeedsAuthorisation,      // only with a recorded authorisation
  kUnknown,                 // nobody here has read it: a person must, and record it
  kRefused,                 // the terms say no; only the licensor's own authorisation lifts it
};
std::string_view name_of(Verdict verdict);  // "allowed", "allowed_with_obligations", …

// What of the teacher goes into the student. kWeights: it is made of the teacher's weights (and may see its outputs).
enum class Relation : std::uint8_t { kOutputs, kLogprobs, kWeights };
std::string_view name_of(Relation relation);  // "outputs", "logprobs", "weights"
Result<Relation> relation_from_name(std::string_view name);

// What the student is for.
enum class Purpose : std::uint8_t { kResearch, kInternal, kProduct, kClassifier };
std::string_view name_of(Purpose purpose);  // "research", "internal", "product", "classifier"
Result<Purpose> purpose_from_name(std::string_view name);

// What a model file says of itself (GGUF general.license, general.license.name, general.license.link, general.name).
struct Declared {
  std::string licence = {};
  std::string licence_name = {};
  std::string licence_link = {};
  std::string model_name = {};
  std::vector<std::string> other_names = {};  // of its file and of the models it was made from
  bool operator==(const Declared&) const = default;
};

// A named person says which licence a file or endpoint that says nothing is under (recipe keys terms.accepted_by,
// terms.accepted_licence). It says what the licence is, and doesn't lift what that licence says.
struct Acceptance {
  std::string by = {};
  std::string licence = {};
  bool operator==(const Acceptance&) const = default;
};

// A recorded permission (recipe key teacher.terms.authorisation).
struct Authorisation {
  std::string by = {};         // the person or organisation that gives it
  std::string document = {};   // SHA-256 of the document, in hexadecimal
  std::string scope = {};      // what it permits, in its words
  std::string expires = {};    // ISO date, the last day it holds; empty: it doesn't end
  bool from_licensor = false;  // the licensor itself gave it
  bool given() const { return !by.empty() || !document.empty() || !scope.empty() || !expires.empty(); }
  bool operator==(const Authorisation&) const = default;
};
// Why it doesn't hold on that day ("it expired on …"); empty: it holds. `today`: ISO date; empty: not known, so that
// nothing that expires holds.
std::string problem_of(const Authorisation& authorisation, std::string_view today);

// All that a decision depends on.
struct Query {
  std::string model = {};  // an id of Hugging Face, an API's id; for a file its general.name, or its file name
  // "own": weights in one's own hands or behind one's own endpoint; a provider ("openai", "bedrock", see
  // route_of_endpoint()); empty: not said, then a model is judged as open weights if it is, else by its maker's terms.
  std::string route = {};
  std::optional<Declared> declared = {};  // of a file; absent when there is none
  Relation relation = Relation::kOutputs;
  Purpose purpose = Purpose::kInternal;
  bool distributed = false;  // the student leaves the house
  bool commercial = false;
  std::string region = {};         // ISO 3166 of where it is used, or "EU"; empty: not said
  std::int64_t monthly_users = 0;  // of the product; 0: not said
  std::string student = {};        // what the student was before it was trained, by name, where it isn't the teacher
  Acceptance acceptance = {};
  Authorisation authorisation = {};
  std::string today = {};          // ISO date
  std::string terms_version = {};  // the tables it asks of; empty: kTermsVersion. Another one: unknown
  bool operator==(const Query&) const = default;
};

enum class ObligationKind : std::uint8_t { kNamePrefix, kNotice, kDisplay, kPassThrough, kMauLimit };
std::string_view name_of(ObligationKind kind);  // "name_prefix", "notice", "display", "pass_through", "mau_limit"

struct Obligation {
  ObligationKind kind = ObligationKind::kNotice;
  std::string value = {};   // "Llama", "Built with Llama", "700000000", or a sentence
  std::string when = {};    // the condition under which it binds, where it isn't always so
  std::string origin = {};  // whose: the id of a licence or of API terms
  bool operator==(const Obligation&) const = default;
};

struct Clause {
  std::string quote = {};  // in short, our own words
  std::string source = {};
  std::string date = {};  // of the terms, else when they were read
  bool primary = false;   // read in the original; else in quotations
  std::string origin = {};
  bool operator==(const Clause&) const = default;
};

struct Decision {
  Verdict verdict = Verdict::kUnknown;
  Query query = {};                       // as asked
  std::vector<std::string> origins = {};  // ids of the licences and API terms that were applied
  std::string licence_id = {};            // of the weights: the known id, else as declared or accepted; may be empty
  std::string licence_name = {};
  std::string licence_link = {};
  std::vector<Obligation> obligations = {};
  std::vector<Clause> clauses = {};
  std::string accepted_by = {};  // who said under which licence it is, when the model didn't
  // In force and recorded, whether or not it was needed.
  std::optional<Authorisation> authorisation = {};
  std::optional<Verdict> lifted = {};  // what the authorisation lifted
  // Why it is so and, when it stops a run, what to write in the recipe. Whole sentences.
  std::string explanation = {};

  bool may_proceed() const { return verdict == Verdict::kAllowed || verdict == Verdict::kAllowedWithObligations; }
  // One line for a Provenance, the authorisation included: "llama3.1: allowed_with_obligations (accepted by …;
  // authorised by …)".
  std::string record() const;
};

Decision decide(const Query& query);

// decide(), with every verdict that stops a run as a kCaller error carrying the explanation.
Result<Decision> admit(const Query& query);

// The members that the command line promises (model, route, relation, decision, obligations, clauses) and all else that
// was decided on. No date of today: the same decision has the same bytes.
Json to_json(const Decision& decision);
// What to_json() wrote. Obligations of an unknown kind, and the sentences of earlier versions, are read as notices.
std::vector<Obligation> obligations_from_json(const Json& decision);

// What was asked, as to_json() recorded it, to be decided again on another day: all but `declared` and `today`, which
// the caller adds. What isn't there is a fresh Query's.
Query query_from_json(const Json& decision);

// Through whom an endpoint asks, by its URL: a known provider's route, "own" for this machine and private networks,
// else the host itself, which no table knows.
std::string route_of_endpoint(std::string_view url);

}  // namespace retort::terms
