// From a recipe's keys to the question that `terms` answers.
//
// Plain values and pure functions; any thread.
#pragma once

#include <cstdint>
#include <string>

#include "collect/collect_options.h"
#include "collect/teacher_options.h"
#include "gguf/file.h"
#include "terms/terms.h"

namespace retort::collect {

terms::Authorisation authorisation_of(const AuthorisationOptions& options);

// Who is asked, through whom and for what: everything but `relation`, `declared` and, for a file, its own name, which
// the caller adds. A served teacher's route is the recipe's, else that of its endpoints (the strictest way to read
// them: one that isn't one's own). `unix_ms`: now, for authorisations that expire.
terms::Query terms_query(const TeacherOptions& teacher, const TermsOptions& accepted, std::int64_t unix_ms);

// What a model's file says of its own licence, names and origins. Error (kCaller): metadata of another type.
Result<terms::Declared> declared_by(const gguf::File& file);

}  // namespace retort::collect
