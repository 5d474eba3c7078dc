// The tables behind terms.h: what each licence and each provider's terms say, and which models stand under them.
//
// A text of terms is a list of rules, of which the first that fits decides, and of duties, all that fit. To add one: a
// Text in licences.cc or api_terms.cc, the models' names in families.cc, a row in scenarios.json. Immutable; any
// thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "terms/terms.h"

namespace retort::terms {

// When a rule or duty fits. What isn't set doesn't matter; all that is set must hold.
struct When {
  // The student is made of the teacher's weights, or of another model under the same text.
  std::optional<bool> derivative = {};
  std::optional<bool> distributed = {};
  std::optional<bool> commercial = {};
  std::optional<bool> multimodal = {};         // the teacher also takes images or sound
  std::vector<Purpose> purposes = {};          // any of these
  std::vector<std::string_view> regions = {};  // any of these; "EU": every member state
  std::int64_t users_above = 0;                // more monthly users than this; 0: doesn't matter
};

struct Rule {
  When when = {};
  Verdict verdict = Verdict::kUnknown;
  std::string_view quote = {};
};

struct Duty {
  When when = {};
  ObligationKind kind = ObligationKind::kNotice;
  std::string_view value = {};
  std::string_view binds = {};  // Obligation::when
  std::string_view quote = {};  // empty: that of the rule says it
};

struct Text {
  std::string_view id = {};                    // of a licence: as in Hugging Face metadata, "apache-2.0"
  std::string_view name = {};                  // for people
  std::vector<std::string_view> aliases = {};  // other spellings found in files
  bool licence = true;                         // of weights; else of an API
  std::vector<Rule> rules = {};                // the last fits always
  std::vector<Duty> duties = {};
  std::string_view source = {};
  std::string_view date = {};  // ISO: of the text where it has one, else when it was read
  bool primary = false;
};

// Models by name. The name is matched word by word, wherever it stands in an id; the longest match counts.
struct Family {
  std::string_view name = {};                // "qwen2.5"; '#' stands for any number
  std::string_view size = {};                // "3b": models of this size alone
  std::vector<std::string_view> texts = {};  // empty: the name doesn't say which terms apply
  std::string_view maker = {};               // the provider whose own API serves it
  bool multimodal = false;
  bool leads = false;  // only where the id begins with it
  // Where it was read that the model stands under these texts, when they don't say it themselves.
  std::string_view source = {};
  bool primary = false;
};

// Through whom a model is asked.
struct Provider {
  std::string_view id = {};
  std::vector<std::string_view> aliases = {};
  std::vector<std::string_view> hosts = {};  // of its API, by their ends
  std::vector<std::string_view> texts = {};
  bool hosts_others = false;  // it also serves models of others
};

std::span<const Text> licences();
std::span<const Text> api_terms();
std::span<const Family> families();
std::span<const Provider> providers();

const Text* find_text(std::string_view id);  // in both tables; null when not known
// By id or alias, whatever the case and separators; null when not known.
const Text* find_licence(std::string_view text);
const Provider* find_provider(std::string_view route);
// "own" and its spellings.
bool is_own_route(std::string_view route);
// A region as ISO 3166 has it, in upper case ("uk" is "GB"); empty: not said.
std::string region_code(std::string_view region);
// Whether it is in one of these, "EU" being every member state. A code that can't be read may be any; an empty one
// isn't.
bool in_regions(const std::string& code, const std::vector<std::string_view>& regions);
// The longest match; null when nothing matches.
const Family* find_family(std::string_view model);

}  // namespace retort::terms
