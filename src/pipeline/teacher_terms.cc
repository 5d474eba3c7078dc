#include "pipeline/teacher_terms.h"

#include "collect/collect_options.h"
#include "collect/teacher_terms.h"
#include "pipeline/run_options.h"
#include "pipeline/teacher.h"
#include "train/train_options.h"

namespace retort::pipeline {
namespace {

terms::Query query_of(const recipe::Recipe& recipe, const Clock& clock) {
  return collect::terms_query(recipe.get(run_option_set()).teacher, recipe.get(collect::terms_option_set()),
                              clock.unix_ms());
}

// Of what is kept of its answers.
terms::Query answers_query(const recipe::Recipe& recipe, const Clock& clock) {
  terms::Query query = query_of(recipe, clock);
  const bool logprobs = recipe.get(collect::collect_option_set()).logprobs.has_value();
  query.relation = logprobs ? terms::Relation::kLogprobs : terms::Relation::kOutputs;
  return query;
}

}  // namespace

Result<terms::Decision> terms_of_answers(const recipe::Recipe& recipe, const Clock& clock) {
  return terms::admit(answers_query(recipe, clock));
}

Result<terms::Decision> teacher_terms(const recipe::Recipe& recipe, const LocalModel& local, const Clock& clock) {
  if (gives_text_alone(recipe.get(run_option_set()).teacher)) {
    terms::Query query = answers_query(recipe, clock);
    query.student = local.name;
    return terms::admit(query);
  }
  terms::Query query = query_of(recipe, clock);
  RETORT_ASSIGN(query.declared, collect::declared_by(local.file));
  if (query.model.empty()) query.model = local.name;
  // A student cut from the teacher is made of its weights; any other learns from its text and its probabilities. Where
  // none is said, answers are collected and nothing else: a run that has a student asks again.
  const auto student = recipe.get(student_option_set());
  const bool cut = student.from.empty() && !student.fresh.any();
  const bool text = recipe.get(train::train_option_set()).signal == "text";
  const bool answers_alone = !says_student(student);
  query.relation = answers_alone ? terms::Relation::kOutputs
                   : cut         ? terms::Relation::kWeights
                   : text        ? terms::Relation::kOutputs
                                 : terms::Relation::kLogprobs;
  return terms::admit(query);
}

Result<terms::Decision> terms_of_base(const recipe::Recipe& recipe, const LocalModel& base, const Clock& clock) {
  terms::Query query = query_of(recipe, clock);
  query.model = base.name;
  query.route = "own";
  RETORT_ASSIGN(query.declared, collect::declared_by(base.file));
  query.relation = terms::Relation::kWeights;
  query.authorisation = {};  // is the teacher's
  // What a person accepted is the teacher's licence, unless this file says nothing of its own.
  if (!query.declared->licence.empty()) query.acceptance = {};
  return terms::admit(query);
}

}  // namespace retort::pipeline
