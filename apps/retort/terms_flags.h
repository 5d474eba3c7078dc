// The facts that terms depend on, as flags: shared by `retort terms` and `retort export`.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "retort/verb.h"
#include "terms/terms.h"

namespace retort::app {

struct TermsFlags {
  std::string route, purpose, relation, region, student, authorisation, accepted_by, accepted_licence;
  bool distributed = false;
  bool commercial = false;
  std::int64_t monthly_users = -1;  // -1: not given
};

void add_terms_flags(CLI::App& app, TermsFlags& flags);

// What was given overrides what stands in `query`; so does today's date. Error (kCaller): the authorisation's file
// can't be read as one.
Result<void> apply_terms_flags(const TermsFlags& flags, const Clock& clock, terms::Query& query);

// For people: the decision, what is asked, why, and that it is no legal advice.
void print_decision(std::ostream& out, const terms::Decision& decision);

}  // namespace retort::app
