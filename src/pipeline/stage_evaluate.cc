// evaluate: the exported files against the teacher, in llama.cpp, on exchanges that were never trained on.
//
// Leaves evaluate/scorecard.json and evaluate/details.json (tokens and answers for the report).
#include <algorithm>
#include <memory>

#include "base/files.h"
#include "base/text.h"
#include "collect/collect_options.h"
#include "dataset/dataset.h"
#include "evaluate/compare.h"
#include "evaluate/evaluate_options.h"
#include "evaluate/generation.h"
#include "evaluate/health.h"
#include "evaluate/perplexity.h"
#include "llama/engine.h"
#include "llama/speed.h"
#include "pipeline/evaluation_details.h"
#include "pipeline/measured_models.h"
#include "pipeline/run_files.h"
#include "pipeline/stage.h"

namespace retort::pipeline {
namespace {

// Files other than the three of the scorecard are compared on this many exchanges: enough for an interval, and the
// run's time goes to what is shipped.
constexpr std::size_t kOtherExchanges = 48;
constexpr std::size_t kGenerationParallel = 16;

struct Evaluation {
  StageContext& context;
  evaluate::EvaluateOptions options;
  evaluate::BootstrapOptions bootstrap;
  std::vector<Exchange> exchanges;
  std::vector<evaluate::HeldOutExample> examples;
  std::size_t context_tokens = 0;
};

Result<std::unique_ptr<llama::Engine>> open_engine(const MeasuredModel& model, std::size_t context_tokens,
                                                   std::size_t parallel) {
  llama::EngineOptions options;
  options.context_tokens = context_tokens;
  options.parallel = parallel;
  auto engine = llama::Engine::open(model.path, options);
  if (!engine) return with_context(engine.error(), model.name);
  return engine;
}

std::size_t rounded_context(std::size_t tokens, const Teacher& teacher) {
  return std::min<std::size_t>((tokens + 255) / 256 * 256, static_cast<std::size_t>(teacher.config.context));
}

ModelScore score_of(const MeasuredModel& model) {
  ModelScore score;
  score.name = model.name;
  score.file = model.path.filename().string();
  score.type = model.type;
  score.layers = model.layers;
  std::error_code error;
  const auto size = static_cast<double>(std::filesystem::file_size(model.path, error));
  if (!error) score.size_bytes = Estimate{size, size, size};
  return score;
}

// KL, agreement and perplexity of all models; returns the comparison with teacher, before and student.
Result<evaluate::Comparison> measure_quality(Evaluation& evaluation, const MeasuredModels& models, Scorecard& card) {
  StageContext& context = evaluation.context;
  RETORT_ASSIGN(const auto reference, open_engine(models.reference, evaluation.context_tokens, 1));
  RETORT_ASSIGN(const auto before, open_engine(models.before, evaluation.context_tokens, 1));
  RETORT_ASSIGN(const auto student, open_engine(models.student, evaluation.context_tokens, 1));
  std::vector<evaluate::ComparedModel> compared = {{"before", before.get()}, {"student", student.get()}};
  std::vector<std::unique_ptr<llama::Engine>> other_engines;
  for (const MeasuredModel& model : models.others) {
    if (model.path == models.reference.path) continue;
    RETORT_ASSIGN(auto engine, open_engine(model, evaluation.context_tokens, 1));
    compared.push_back({model.name, engine.get(), kOtherExchanges});
    other_engines.push_back(std::move(engine));
  }
  RETORT_ASSIGN(
      evaluate::Comparison comparison,
      evaluate::compare(*reference, compared, evaluation.examples,
                        {.threads = 0, .end_ids = context.teacher.format.end_ids()}, context.progress, context.stop));
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
    const bool is_reference = model.path == models.reference.path;
    evaluate::set_quality(score, quality(is_reference ? comparison.teacher : comparison.models[next++]));
    card.others.push_back(std::move(score));
  }
  return comparison;
}

struct Answers {
  std::vector<std::vector<TokenId>> prompts;
  std::vector<TokenCompletion> teacher, before, student;
};

// What each writes when nobody corrects it. The same prompts and seeds for all.
Result<Answers> measure_answers(Evaluation& evaluation, const MeasuredModels& models, Scorecard& card) {
  StageContext& context = evaluation.context;
  SamplingOptions sampling = collect::answer_sampling(context.recipe.get(collect::collect_option_set()));
  sampling.seed = static_cast<std::uint64_t>(evaluation.options.seed);
  const std::size_t count = std::min(
      evaluation.exchanges.size(),
      static_cast<std::size_t>(std::max<std::int64_t>(evaluation.options.answers, evaluation.options.shown_answers)));
  Answers answers;
  std::vector<std::vector<TokenId>>& prompts = answers.prompts;
  std::size_t longest = 0;
  for (std::size_t i = 0; i < count; ++i) {
    prompts.push_back(answer_prompt(evaluation.exchanges[i]));
    longest = std::max(longest, prompts.back().size());
  }
  if (prompts.empty()) return answers;
  const std::size_t context_tokens =
      rounded_context(longest + static_cast<std::size_t>(sampling.max_tokens), context.teacher);
  const MeasuredModel* measured[] = {&models.reference, &models.before, &models.student};
  ModelScore* scores[] = {&card.teacher, &card.before, &card.student};
  std::vector<TokenCompletion>* written[] = {&answers.teacher, &answers.before, &answers.student};
  for (std::size_t m = 0; m < 3; ++m) {
    const bool untrained = m == 1;
    SamplingOptions own = sampling;
    if (untrained) own.max_tokens = std::min(own.max_tokens, evaluate::kUntrainedTokens);
    const auto own_prompts =
        std::span(prompts).first(untrained ? std::min(prompts.size(), evaluate::kUntrainedAnswers) : prompts.size());
    RETORT_ASSIGN(const auto engine, open_engine(*measured[m], context_tokens, kGenerationParallel));
    RETORT_ASSIGN(evaluate::GenerationStatistics statistics,
                  evaluate::measure_generation(*engine, own_prompts, context.teacher.format.end_ids(), own,
                                               evaluation.bootstrap, context.progress, context.stop));
    evaluate::set_generation(*scores[m], statistics);
    *written[m] = std::move(statistics.answers);
  }
  return answers;
}

// What the teacher thinks of what it and the student wrote.
Result<void> judge(Evaluation& evaluation, const MeasuredModels& models, const Answers& answers,
                   evaluate::Health& health) {
  StageContext& context = evaluation.context;
  if (answers.student.empty()) return {};
  std::size_t longest = 0;
  for (const auto* written : {&answers.teacher, &answers.student}) {
    for (std::size_t i = 0; i < written->size(); ++i) {
      longest = std::max(longest, answers.prompts[i].size() + (*written)[i].ids.size());
    }
  }
  const std::size_t context_tokens = rounded_context(longest, context.teacher);
  RETORT_ASSIGN(const auto teacher, open_engine(models.reference, context_tokens, 1));
  RETORT_ASSIGN(const auto student, open_engine(models.student, context_tokens, 1));
  RETORT_ASSIGN(health.teacher_answers.judged,
                evaluate::judge_answers(*teacher, nullptr, answers.prompts, answers.teacher, evaluation.bootstrap,
                                        context.progress, context.stop));
  RETORT_ASSIGN(health.model_answers.judged,
                evaluate::judge_answers(*teacher, student.get(), answers.prompts, answers.student, evaluation.bootstrap,
                                        context.progress, context.stop));
  return {};
}

Result<void> measure_text(Evaluation& evaluation, const MeasuredModels& models, Scorecard& card) {
  if (evaluation.options.text.empty()) return {};
  StageContext& context = evaluation.context;
  RETORT_ASSIGN(const std::string text, read_file(evaluation.options.text));
  const tokens::Tokenizer& tokenizer = context.teacher.format.tokenizer();
  RETORT_ASSIGN(const std::vector<TokenId> ids, tokenizer.encode(text));
  evaluate::TextOptions text_options;
  if (tokenizer.adds_bos()) text_options.begin = tokenizer.bos();
  text_options.window =
      std::min<std::size_t>(text_options.window, static_cast<std::size_t>(context.teacher.config.context));
  text_options.stride = text_options.window / 2;
  const MeasuredModel* measured[] = {&models.reference, &models.before, &models.student};
  ModelScore* scores[] = {&card.teacher, &card.before, &card.student};
  for (std::size_t m = 0; m < 3; ++m) {
    RETORT_ASSIGN(const auto engine,
                  open_engine(*measured[m], rounded_context(text_options.window + 1, context.teacher), 1));
    RETORT_ASSIGN(const evaluate::TextScore score,
                  evaluate::score_text(*engine, ids, text_options, evaluation.bootstrap, context.stop));
    scores[m]->text_perplexity = score.perplexity;
  }
  return {};
}

Result<void> measure_speeds(Evaluation& evaluation, const MeasuredModels& models, Scorecard& card) {
  if (!evaluation.options.speed) return {};
  StageContext& context = evaluation.context;
  std::vector<std::pair<const MeasuredModel*, ModelScore*>> measured = {
      {&models.teacher, &card.teacher}, {&models.before, &card.before}, {&models.student, &card.student}};
  for (std::size_t i = 0; i < models.others.size(); ++i) measured.emplace_back(&models.others[i], &card.others[i]);
  llama::SpeedOptions options;
  options.prefill_tokens =
      std::min<std::size_t>(options.prefill_tokens, static_cast<std::size_t>(context.teacher.config.context) / 2);
  options.decode_tokens =
      std::min<std::size_t>(options.decode_tokens, static_cast<std::size_t>(context.teacher.config.context) / 4);
  options.repetitions = 2;
  context.progress.begin("speed", static_cast<double>(measured.size()), "models");
  double done = 0;
  for (const auto& [model, score] : measured) {
    RETORT_ASSIGN(const llama::Speed speed, llama::measure_speed(model->path, options, context.clock, context.stop));
    const auto exact = [](double value) { return Estimate{value, value, value}; };
    score->prefill_tokens_per_s = exact(speed.prefill_tokens_per_s);
    score->decode_tokens_per_s = exact(speed.decode_tokens_per_s);
    context.progress.advance(++done, model->name);
  }
  context.progress.end(std::to_string(measured.size()) + " models");
  return {};
}

}  // namespace

Result<StageResult> run_evaluate(StageContext& context) {
  Evaluation evaluation{context, context.recipe.get(evaluate::evaluate_option_set()), {}, {}, {}, 0};
  evaluation.bootstrap.resamples = evaluation.options.resamples;
  evaluation.bootstrap.seed = static_cast<std::uint64_t>(evaluation.options.seed);
  RETORT_ASSIGN(const dataset::Dataset dataset, dataset::load(context.folder.of(kDatasetFile)));
  RETORT_ASSIGN(evaluation.exchanges, read_exchanges(context.folder, dataset.held_out));
  std::size_t longest = 0;
  for (const Exchange& exchange : evaluation.exchanges) {
    evaluation.examples.push_back(evaluate::held_out_example(exchange));
    longest = std::max(longest, exchange.tokens.ids.size());
  }
  evaluation.context_tokens = rounded_context(longest, context.teacher);
  RETORT_ASSIGN(const MeasuredModels models, measured_models(context, evaluation.options.rival));

  Scorecard card;
  card.teacher = score_of(models.teacher);
  card.before = score_of(models.before);
  card.student = score_of(models.student);
  RETORT_ASSIGN(const evaluate::Comparison comparison, measure_quality(evaluation, models, card));
  RETORT_ASSIGN(const Answers answers, measure_answers(evaluation, models, card));
  RETORT_TRY(measure_text(evaluation, models, card));
  RETORT_TRY(measure_speeds(evaluation, models, card));
  if (const auto sampling = dataset::common_sampling(evaluation.exchanges)) {
    card.held_out.temperature = sampling->temperature;
    card.held_out.top_p = sampling->top_p;
    card.held_out.max_tokens = sampling->max_tokens;
  }
  card.wall_s = context.folder.manifest().total_seconds();
  RETORT_TRY(write_json(context.folder, kScorecardFile, to_json(card)));

  EvaluationDetails details;
  details.reference = models.reference.path == models.teacher.path
                          ? "the teacher's file as given (" + models.teacher.type + ")"
                          : "the teacher's weights (" + models.teacher.type + ") expanded to " + models.reference.type +
                                ", so that it isn't judged through quantised activations";
  details.share_of_kl_closed = evaluate::share_of_kl_closed(comparison.models[0].exchanges,
                                                            comparison.models[1].exchanges, evaluation.bootstrap);
  std::vector<std::string> sources;
  for (const Exchange& exchange : evaluation.exchanges) sources.push_back(exchange.provenance.prompt_source);
  details.health = evaluate::measure_health(comparison.models[1].tokens, sources, context.teacher.format.end_ids(),
                                            evaluation.bootstrap);
  details.health->teacher_answers = evaluate::measure_answers(answers.prompts, answers.teacher);
  details.health->model_answers = evaluate::measure_answers(answers.prompts, answers.student);
  RETORT_TRY(judge(evaluation, models, answers, *details.health));
  for (const std::string& warning : evaluate::warnings(*details.health)) context.progress.note("warning: " + warning);
  const tokens::Tokenizer& tokenizer = context.teacher.format.tokenizer();
  const auto shown =
      std::min(evaluation.exchanges.size(), static_cast<std::size_t>(evaluation.options.shown_exchanges));
  for (std::size_t i = 0; i < shown; ++i) {
    details.compared.push_back(
        compared_exchange(evaluation.exchanges[i], dataset.held_out[i], comparison.models[1].tokens[i], tokenizer));
  }
  const auto shown_answers =
      std::min(answers.before.size(), static_cast<std::size_t>(evaluation.options.shown_answers));
  for (std::size_t i = 0; i < shown_answers; ++i) {
    details.answers.push_back({last_user_text(evaluation.exchanges[i]), answer_text(answers.teacher[i], tokenizer),
                               answer_text(answers.before[i], tokenizer), answer_text(answers.student[i], tokenizer)});
  }
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

}  // namespace retort::pipeline
