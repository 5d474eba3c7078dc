#include "pipeline/teacher.h"

#include <utility>

#include "base/json.h"
#include "pipeline/run_options.h"
#include "pipeline/student_base.h"
#include "pipeline/teacher_terms.h"

namespace retort::pipeline {
namespace {

Digest identity_of(const collect::TeacherOptions& asked, const LocalModel* own) {
  if (!asked.served()) return own->digest;
  return sha256(canonical_json({{"api", asked.api},
                                {"model", asked.model},
                                {"route", asked.route},
                                {"file", own != nullptr ? own->digest.hex() : ""}}));
}

}  // namespace

bool gives_text_alone(const collect::TeacherOptions& teacher) { return teacher.served() && teacher.file.empty(); }

Result<Models> open_models(const recipe::Recipe& recipe, const std::filesystem::path& cache_folder,
                           const Clock& clock) {
  const collect::TeacherOptions asked = recipe.get(run_option_set()).teacher;
  const bool at_hand = !gives_text_alone(asked);
  RETORT_ASSIGN(LocalModel local, at_hand ? open_local_model(asked.file, cache_folder)
                                          : open_student_base(recipe.get(student_option_set()), cache_folder));
  const LocalModel* own = at_hand ? &local : nullptr;
  RETORT_ASSIGN(terms::Decision decision, teacher_terms(recipe, local, clock));
  if (!at_hand) {
    RETORT_ASSIGN(local.own_terms, terms_of_base(recipe, local, clock));
  }
  Teacher teacher{at_hand ? local.name : asked.model, asked, at_hand, std::move(decision), identity_of(asked, own)};
  return Models{std::move(local), std::move(teacher)};
}

}  // namespace retort::pipeline
