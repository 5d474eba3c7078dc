// May this teacher's output train that student? Licences as data, and a pure function over them.
//
// What is known stands in terms/licences.cc with its source and the date it was read. Unknown never means allowed: it
// means that a person must say so, by name, in the recipe, and the name is recorded. None of this is legal advice; the
// clause is given in short with where to read it.
//
// Plain values and pure functions; any thread.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json_fwd.h"

namespace retort::terms {

enum class Verdict {
  kAllowed,
  kAllowedWithObligations,  // allowed; what must be done is listed
  kNeedsAuthorisation,      // only with a permission that a named person says they have
  kRefused,                 // the licence says no
  kUnknown,                 // a person must read it and say so
};
std::string_view name_of(Verdict verdict);  // "allowed", "allowed_with_obligations", …

// What of the teacher goes into the student.
enum class Use { kOutputs, kLogprobs, kWeights };
std::string_view name_of(Use use);

struct Licence {
  std::string_view id;                    // as in Hugging Face metadata: "apache-2.0"
  std::string_view name;                  // for people
  std::vector<std::string_view> aliases;  // other spellings found in files, lower case
  Verdict outputs = Verdict::kUnknown;    // outputs or logprobs train a model that is not made of the teacher's weights
  Verdict derivative = Verdict::kUnknown;  // the student is made of the teacher's weights
  std::string_view clause;                 // in short, our words
  std::vector<std::string_view> obligations;
  std::string_view source;
  std::string_view read_on;  // ISO date
  bool primary = false;      // read in the original; else in quotations
};
std::span<const Licence> licences();
// By id or alias, whatever the case and separators; null when not known.
const Licence* find_licence(std::string_view text);

// What a model file says of itself (GGUF general.license, general.license.name, general.license.link, general.name).
struct Declared {
  std::string licence;
  std::string licence_name;
  std::string licence_link;
  std::string model_name;
};

// What a person wrote in the recipe: who accepted which licence (keys terms.accepted_by, terms.accepted_licence).
struct Acceptance {
  std::string by;
  std::string licence;
};

struct Purpose {
  std::vector<Use> uses = {Use::kOutputs};
};

struct Decision {
  Verdict verdict = Verdict::kUnknown;
  std::string licence_id;  // the known id, else as declared or accepted; may be empty
  std::string licence_name;
  std::string licence_link;
  std::string clause;
  std::vector<std::string> obligations;
  std::string source;
  std::string read_on;
  bool primary = false;
  std::string accepted_by;  // who took it upon themselves, when somebody did
  // Why it is so and, when it stops a run, what to write in the recipe. Whole sentences.
  std::string explanation;

  bool may_proceed() const { return verdict == Verdict::kAllowed || verdict == Verdict::kAllowedWithObligations; }
  // One line for a Provenance: "apache-2.0: allowed_with_obligations (accepted by …)".
  std::string record() const;
};
Json to_json(const Decision& decision);

Decision decide(const Declared& declared, const Purpose& purpose, const Acceptance& acceptance);

// decide(), with every verdict that stops a run as a kCaller error carrying the explanation.
Result<Decision> admit(const Declared& declared, const Purpose& purpose, const Acceptance& acceptance);

}  // namespace retort::terms
