// evaluate: the exported files against the teacher, in llama.cpp, on exchanges that were never trained on; of a teacher
// that gives its text alone, on its answers (pipeline/evaluation_of_text.h).
//
// Leaves evaluate/scorecard.json and evaluate/details.json (tokens and answers for the report).
#include <algorithm>
#include <memory>

#include "evaluate/compare.h"
#include "evaluate/health.h"
#include "llama/engine.h"
#include "pipeline/evaluation.h"
#include "pipeline/evaluation_details.h"
#include "pipeline/evaluation_of_text.h"
#include "pipeline/measured_models.h"
#include "pipeline/run_files.h"
#include "pipeline/stage.h"

namespace retort::pipeline {
namespace {

// KL, agreement and perplexity of all models; returns the comparison with teacher, before and student.
Result<evaluate::Comparison> measure_quality(Evaluation& evaluation, Scorecard& card) {
  StageContext& context = evaluation.context;
  const MeasuredModels& models = evaluation.models;
  RETORT_ASSIGN(const auto reference, open_engine(*models.reference, evaluation.context_tokens, 1));
  RETORT_ASSIGN(const auto before, open_engine(models.before, evaluation.context_tokens, 1));
  RETORT_ASSIGN(const auto student, open_engine(models.student, evaluation.context_tokens, 1));
  std::vector<evaluate::ComparedModel> compared = {{"before", before.get()}, {"student", student.get()}};
  std::vector<std::unique_ptr<llama::Engine>> other_engines;
  for (const MeasuredModel& model : models.others) {
    if (model.path == models.reference->path) continue;
    RETORT_ASSIGN(auto engine, open_engine(model, evaluation.context_tokens, 1));
    compared.push_back({model.name, engine.get(), kOtherExchanges});
    other_engines.push_back(std::move(engine));
  }
  RETORT_ASSIGN(
      evaluate::Comparison comparison,
      evaluate::compare(*reference, compared, evaluation.examples,
                        {.threads = 0, .end_ids = context.local.format.end_ids()}, context.progress, context.stop));
  const auto quality = [&](const evaluate::ModelComparison& model) {
    return evaluate::estimate_quality(model.exchanges, evaluation.bootstrap);
  };
  evaluate::set_quality(card.teacher, quality(comparison.teacher));
  evaluate::set_quality(card.before, quality(comparison.models[0]));
  evaluate::set_quality(card.student, quality(comparison.models[1]));
  card.held_out.exchanges = static_cast<std::int64_t>(evaluation.examples.size());
  card.held_out.tokens = comparison.tokens;

  std::size_t next = 2;
  for (const MeasuredModel& model : models.others) {
    ModelScore score = score_of(model);
    const bool is_reference = model.path == models.reference->path;
    evaluate::set_quality(score, quality(is_reference ? comparison.teacher : comparison.models[next++]));
    card.others.push_back(std::move(score));
  }
  return comparison;
}

// What the teacher thinks of what it and the student wrote.
Result<void> judge(Evaluation& evaluation, const Answers& answers, evaluate::Health& health) {
  StageContext& context = evaluation.context;
  const MeasuredModels& models = evaluation.models;
  if (answers.student.empty()) return {};
  std::size_t longest = 0;
  for (const auto* written : {&answers.teacher, &answers.student}) {
    for (std::size_t i = 0; i < written->size(); ++i) {
      longest = std::max(longest, answers.prompts[i].size() + (*written)[i].ids.size());
    }
  }
  const std::size_t context_tokens = rounded_context(longest, context.local);
  RETORT_ASSIGN(const auto teacher, open_engine(*models.reference, context_tokens, 1));
  RETORT_ASSIGN(const auto student, open_engine(models.student, context_tokens, 1));
  RETORT_ASSIGN(health.teacher_answers.judged,
                evaluate::judge_answers(*teacher, nullptr, answers.prompts, answers.teacher, evaluation.bootstrap,
                                        context.progress, context.stop));
  RETORT_ASSIGN(health.model_answers.judged,
                evaluate::judge_answers(*teacher, student.get(), answers.prompts, answers.student, evaluation.bootstrap,
                                        context.progress, context.stop));
  return {};
}

std::string reference_in_words(const MeasuredModels& models) {
  const MeasuredModel& teacher = *models.teacher;
  if (models.reference->path == teacher.path) return "the teacher's file as given (" + teacher.type + ")";
  return "the teacher's weights (" + teacher.type + ") expanded to " + models.reference->type +
         ", so that it isn't judged through quantised activations";
}

// How the student is beyond the means of the scorecard.
Result<evaluate::Health> measure_health(Evaluation& evaluation, const evaluate::Comparison& comparison,
                                        const Answers& answers) {
  StageContext& context = evaluation.context;
  std::vector<std::string> sources;
  for (const Exchange& exchange : evaluation.exchanges) sources.push_back(exchange.provenance.prompt_source);
  evaluate::Health health = evaluate::measure_health(comparison.models[1].tokens, sources,
                                                     context.local.format.end_ids(), evaluation.bootstrap);
  health.teacher_answers = evaluate::measure_answers(answers.prompts, answers.teacher);
  health.model_answers = evaluate::measure_answers(answers.prompts, answers.student);
  RETORT_TRY(judge(evaluation, answers, health));
  for (const std::string& warning : evaluate::warnings(health)) context.progress.note("warning: " + warning);
  return health;
}

Result<StageResult> evaluate_against_teacher(Evaluation& evaluation) {
  StageContext& context = evaluation.context;
  const MeasuredModels& models = evaluation.models;
  Scorecard card;
  card.teacher = score_of(*models.teacher);
  card.before = score_of(models.before);
  card.student = score_of(models.student);
  RETORT_ASSIGN(const evaluate::Comparison comparison, measure_quality(evaluation, card));
  RETORT_ASSIGN(const Answers answers, measure_answers(evaluation, card));
  RETORT_TRY(measure_text(evaluation, card));
  RETORT_TRY(measure_speeds(evaluation, card));
  say_sampling(evaluation, card.held_out);
  card.wall_s = context.folder.manifest().total_seconds();
  RETORT_TRY(write_json(context.folder, kScorecardFile, to_json(card)));

  EvaluationDetails details;
  details.reference = reference_in_words(models);
  details.share_of_kl_closed = evaluate::share_of_kl_closed(comparison.models[0].exchanges,
                                                            comparison.models[1].exchanges, evaluation.bootstrap);
  RETORT_ASSIGN(details.health, measure_health(evaluation, comparison, answers));
  const auto shown =
      std::min(evaluation.exchanges.size(), static_cast<std::size_t>(evaluation.options.shown_exchanges));
  for (std::size_t i = 0; i < shown; ++i) {
    details.compared.push_back(compared_exchange(evaluation.exchanges[i], evaluation.dataset.held_out[i],
                                                 comparison.models[1].tokens[i], context.local.format.tokenizer()));
  }
  details.answers = shown_answers(evaluation, answers);
  RETORT_TRY(write_json(context.folder, kDetailsFile, to_json(details)));

  StageResult result;
  result.content = {kScorecardFile, kDetailsFile};
  result.tokens = card.held_out.tokens;
  char text[200];
  std::snprintf(text, sizeof(text),
                "KL %.2f -> %.3f nats, agreement %.1f -> %.1f %%, perplexity %.1f -> %.2f (teacher %.2f)",
                card.before.kl_nats->value, card.student.kl_nats->value, 100 * card.before.top1_agreement->value,
                100 * card.student.top1_agreement->value, card.before.perplexity->value, card.student.perplexity->value,
                card.teacher.perplexity->value);
  result.summary = text;
  return result;
}

}  // namespace

Result<StageResult> run_evaluate(StageContext& context) {
  RETORT_ASSIGN(Evaluation evaluation, prepare_evaluation(context));
  return context.teacher.at_hand ? evaluate_against_teacher(evaluation) : evaluate_on_text(evaluation);
}

}  // namespace retort::pipeline
