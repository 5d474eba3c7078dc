#include "pipeline/evaluation_of_text.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

#include "base/text.h"
#include "evaluate/answer_scores.h"
#include "evaluate/generation.h"
#include "pipeline/run_files.h"

namespace retort::pipeline {
namespace {

// What the service told of its held-out answers.
std::vector<std::optional<double>> told_by_teacher(const Evaluation& evaluation) {
  std::vector<std::optional<double>> told;
  for (const Exchange& exchange : evaluation.exchanges) told.push_back(evaluate::told_log_probability(exchange));
  return told;
}

// Perplexity, and KL where enough was told. Tokens that were scored.
Result<std::int64_t> measure(Evaluation& evaluation, const MeasuredModel& model,
                             const std::vector<std::optional<double>>& told, ModelScore& score) {
  StageContext& context = evaluation.context;
  score = score_of(model);
  RETORT_ASSIGN(const auto engine, open_engine(model, evaluation.context_tokens, 1));
  RETORT_ASSIGN(const std::vector<evaluate::AnswerScore> scores,
                evaluate::score_answers(*engine, model.name, evaluation.examples, context.local.format.end_ids(),
                                        context.progress, context.stop));
  double tokens = 0;
  for (const evaluate::AnswerScore& each : scores) tokens += each.tokens;
  if (tokens == 0) {
    return caller_error(
        "There is nothing to evaluate on: the held-out exchanges hold no answer's token. Raise evaluate.held_out.");
  }
  score.perplexity = evaluate::answer_perplexity(scores, evaluation.bootstrap);
  score.kl_nats = evaluate::sampled_kl(told, scores, evaluation.bootstrap);
  return static_cast<std::int64_t>(tokens);
}

// The teacher's held-out answers stand where a teacher at hand would answer once more.
std::vector<TokenCompletion> collected_answers(const Evaluation& evaluation) {
  const std::vector<TokenId>& ends = evaluation.context.local.format.end_ids();
  std::vector<TokenCompletion> answers;
  for (const Exchange& exchange : evaluation.exchanges) {
    const std::vector<TokenId>& ids = exchange.tokens.ids;
    TokenCompletion answer;
    for (const TokenSpan& span : exchange.tokens.spans) {
      if (span.kind != SpanKind::kAssistant) continue;
      answer.ids.assign(ids.begin() + span.begin, ids.begin() + span.end);
    }
    const bool ended = !answer.ids.empty() && std::ranges::find(ends, answer.ids.back()) != ends.end();
    answer.finish_reason = ended ? FinishReason::kEnd : FinishReason::kLength;
    answers.push_back(std::move(answer));
  }
  return answers;
}

std::string summary_of(const Scorecard& card) {
  char text[200];
  std::snprintf(text, sizeof(text), "perplexity %.1f -> %.2f on the teacher's answers", card.before.perplexity->value,
                card.student.perplexity->value);
  std::string summary = text;
  if (card.before.kl_nats && card.student.kl_nats) {
    std::snprintf(text, sizeof(text), ", KL about %.2f -> %.3f nats", card.before.kl_nats->value,
                  card.student.kl_nats->value);
    summary += text;
  }
  return summary;
}

}  // namespace

Result<StageResult> evaluate_on_text(Evaluation& evaluation) {
  StageContext& context = evaluation.context;
  const MeasuredModels& models = evaluation.models;
  const std::vector<std::optional<double>> told = told_by_teacher(evaluation);
  Scorecard card;
  card.teacher.name = context.teacher.name;
  RETORT_TRY(measure(evaluation, models.before, told, card.before));
  RETORT_ASSIGN(card.held_out.tokens, measure(evaluation, models.student, told, card.student));
  card.held_out.exchanges = static_cast<std::int64_t>(evaluation.examples.size());
  for (const MeasuredModel& model : models.others) {
    RETORT_TRY(measure(evaluation, model, told, card.others.emplace_back()));
  }
  RETORT_ASSIGN(Answers answers, measure_answers(evaluation, card));
  answers.teacher = collected_answers(evaluation);
  evaluate::set_generation(card.teacher, evaluate::describe_generation(answers.teacher, evaluation.bootstrap));
  RETORT_TRY(measure_text(evaluation, card));
  RETORT_TRY(measure_speeds(evaluation, card));
  say_sampling(evaluation, card.held_out);
  card.wall_s = context.folder.manifest().total_seconds();
  RETORT_TRY(write_json(context.folder, kScorecardFile, to_json(card)));

  EvaluationDetails details;
  details.reference = "the answers of " + context.teacher.name + " alone: its probabilities aren't known";
  const auto with_told = std::ranges::count_if(told, [](const auto& each) { return each.has_value(); });
  if (with_told > 0) {
    details.reference += " but for those of the words it drew, from which KL is estimated (" + human_count(with_told) +
                         " of " + human_count(static_cast<std::int64_t>(told.size())) + " answers)";
  }
  details.answers = shown_answers(evaluation, answers);
  RETORT_TRY(write_json(context.folder, kDetailsFile, to_json(details)));

  StageResult result;
  result.content = {kScorecardFile, kDetailsFile};
  result.tokens = card.held_out.tokens;
  result.summary = summary_of(card);
  return result;
}

}  // namespace retort::pipeline
