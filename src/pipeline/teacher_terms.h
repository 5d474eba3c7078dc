// By what right a run learns from its teacher and changes its base: the one place where pipeline asks `terms`.
//
// Pure; any thread.
#pragma once

#include "base/error.h"
#include "collect/collect_options.h"
#include "collect/teacher_options.h"
#include "gguf/file.h"
#include "terms/terms.h"

namespace retort::pipeline {

// `own_file`: the teacher's, where it is at hand; null: its answers' text is all there is.
// Error (kCaller): the terms stop the run; with what to write in the recipe.
Result<terms::Decision> teacher_terms(const collect::TeacherOptions& teacher, const collect::TermsOptions& accepted,
                                      const gguf::File* own_file);

// Of a model whose weights the student begins from, and which isn't the teacher. Error (kCaller): as above.
Result<terms::Decision> terms_of_base(const gguf::File& base, const collect::TermsOptions& accepted);

}  // namespace retort::pipeline
