// By what right a run learns from its teacher and changes its base: the one place where pipeline asks `terms`.
//
// Pure but for the clock, which says what day it is; any thread.
#pragma once

#include "base/clock.h"
#include "base/error.h"
#include "pipeline/local_model.h"
#include "recipe/recipe.h"
#include "terms/terms.h"

namespace retort::pipeline {

// Of what a served teacher answers: its text, or its log-probabilities where they are kept. Needs no model on this
// machine. Error (kCaller): the terms stop it.
Result<terms::Decision> terms_of_answers(const recipe::Recipe& recipe, const Clock& clock);

// `local`: the teacher's own file, or the base where the teacher gives its text alone.
// Error (kCaller): the terms stop the run; with what to write in the recipe.
Result<terms::Decision> teacher_terms(const recipe::Recipe& recipe, const LocalModel& local, const Clock& clock);

// Of a base whose weights the student begins from, and which isn't the teacher. Error (kCaller): as above.
Result<terms::Decision> terms_of_base(const recipe::Recipe& recipe, const LocalModel& base, const Clock& clock);

}  // namespace retort::pipeline
