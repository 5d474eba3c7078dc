// Who is learnt from, and by what right.
//
// A teacher is a file on this machine, a model behind an API whose file is at hand too, or a model behind an API that
// gives its text alone. In the first two the run's local model (pipeline/local_model.h) is the teacher itself, and what
// needs its probabilities works; in the last it is the model that the student begins from.
//
// Plain values; any thread.
#pragma once

#include <filesystem>
#include <string>

#include "base/clock.h"
#include "base/digest.h"
#include "base/error.h"
#include "collect/teacher_options.h"
#include "pipeline/local_model.h"
#include "recipe/recipe.h"
#include "terms/terms.h"

namespace retort::pipeline {

struct Teacher {
  std::string name;  // of the local model, or as the API names it
  collect::TeacherOptions asked;
  bool at_hand = true;    // the local model is this one
  terms::Decision terms;  // of its answers, and of its probabilities and weights where it is at hand
  // Of what decides its answers: its file, or API, route and model; never where or with which key it is asked.
  Digest identity;

  bool served() const { return asked.served(); }
};

struct Models {
  LocalModel local;
  Teacher teacher;
};

// Whether the teacher's file is missing, so that there is nothing of it but its answers' text.
bool gives_text_alone(const collect::TeacherOptions& teacher);

// What the recipe names. Errors (kCaller): those of open_local_model(); terms that stop the run, with what to write in
// the recipe. `clock`: for authorisations that end.
Result<Models> open_models(const recipe::Recipe& recipe, const std::filesystem::path& cache_folder, const Clock& clock);

}  // namespace retort::pipeline
