#include "pipeline/evaluation.h"

#include <algorithm>
#include <span>
#include <utility>

#include "base/files.h"
#include "collect/collect_options.h"
#include "evaluate/generation.h"
#include "evaluate/perplexity.h"
#include "llama/speed.h"
#include "pipeline/run_files.h"

namespace retort::pipeline {
namespace {

// The models that are measured by themselves, and where their figures go. The teacher's come from the file that
// everything is compared with.
struct Measured {
  const MeasuredModel* model;
  ModelScore* score;
  std::vector<TokenCompletion>* written;
  bool untrained = false;
};
std::vector<Measured> measured_by_themselves(const MeasuredModels& models, Scorecard& card, Answers& answers) {
  std::vector<Measured> all;
  if (models.reference) all.push_back({&*models.reference, &card.teacher, &answers.teacher});
  all.push_back({&models.before, &card.before, &answers.before, true});
  all.push_back({&models.student, &card.student, &answers.student});
  return all;
}

}  // namespace

Result<Evaluation> prepare_evaluation(StageContext& context) {
  Evaluation evaluation{context, context.recipe.get(evaluate::evaluate_option_set()), {}, {}, {}, {}, 0, {}};
  evaluation.bootstrap.resamples = evaluation.options.resamples;
  evaluation.bootstrap.seed = static_cast<std::uint64_t>(evaluation.options.seed);
  RETORT_ASSIGN(evaluation.dataset, dataset::load(context.folder.of(kDatasetFile)));
  RETORT_ASSIGN(evaluation.exchanges, read_exchanges(context.folder, context.local, evaluation.dataset.held_out));
  std::size_t longest = 0;
  for (const Exchange& exchange : evaluation.exchanges) {
    evaluation.examples.push_back(evaluate::held_out_example(exchange));
    longest = std::max(longest, exchange.tokens.ids.size());
  }
  evaluation.context_tokens = rounded_context(longest, context.local);
  RETORT_ASSIGN(evaluation.models, measured_models(context, evaluation.options.rival));
  return evaluation;
}

Result<std::unique_ptr<llama::Engine>> open_engine(const MeasuredModel& model, std::size_t context_tokens,
                                                   std::size_t parallel) {
  llama::EngineOptions options;
  options.context_tokens = context_tokens;
  options.parallel = parallel;
  auto engine = llama::Engine::open(model.path, options);
  if (!engine) return with_context(engine.error(), model.name);
  return engine;
}

std::size_t rounded_context(std::size_t tokens, const LocalModel& local) {
  return std::min<std::size_t>((tokens + 255) / 256 * 256, static_cast<std::size_t>(local.config.context));
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

void say_sampling(const Evaluation& evaluation, HeldOut& held_out) {
  const auto sampling = dataset::common_sampling(evaluation.exchanges);
  if (!sampling) return;
  held_out.temperature = sampling->temperature;
  held_out.top_p = sampling->top_p;
  held_out.max_tokens = sampling->max_tokens;
}

Result<Answers> measure_answers(Evaluation& evaluation, Scorecard& card) {
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
      rounded_context(longest + static_cast<std::size_t>(sampling.max_tokens), context.local);
  for (const auto& [model, score, written, untrained] : measured_by_themselves(evaluation.models, card, answers)) {
    SamplingOptions own = sampling;
    if (untrained) own.max_tokens = std::min(own.max_tokens, evaluate::kUntrainedTokens);
    const auto own_prompts =
        std::span(prompts).first(untrained ? std::min(prompts.size(), evaluate::kUntrainedAnswers) : prompts.size());
    RETORT_ASSIGN(const auto engine, open_engine(*model, context_tokens, kAnswersAtOnce));
    RETORT_ASSIGN(evaluate::GenerationStatistics statistics,
                  evaluate::measure_generation(*engine, own_prompts, context.local.format.end_ids(), own,
                                               evaluation.bootstrap, context.progress, context.stop));
    evaluate::set_generation(*score, statistics);
    *written = std::move(statistics.answers);
  }
  return answers;
}

Result<void> measure_text(Evaluation& evaluation, Scorecard& card) {
  if (evaluation.options.text.empty()) return {};
  StageContext& context = evaluation.context;
  RETORT_ASSIGN(const std::string text, read_file(evaluation.options.text));
  const tokens::Tokenizer& tokenizer = context.local.format.tokenizer();
  RETORT_ASSIGN(const std::vector<TokenId> ids, tokenizer.encode(text));
  evaluate::TextOptions text_options;
  if (tokenizer.adds_bos()) text_options.begin = tokenizer.bos();
  text_options.window =
      std::min<std::size_t>(text_options.window, static_cast<std::size_t>(context.local.config.context));
  text_options.stride = text_options.window / 2;
  Answers unused;
  for (const Measured& measured : measured_by_themselves(evaluation.models, card, unused)) {
    RETORT_ASSIGN(const auto engine,
                  open_engine(*measured.model, rounded_context(text_options.window + 1, context.local), 1));
    RETORT_ASSIGN(const evaluate::TextScore text_score,
                  evaluate::score_text(*engine, ids, text_options, evaluation.bootstrap, context.stop));
    measured.score->text_perplexity = text_score.perplexity;
  }
  return {};
}

Result<void> measure_speeds(Evaluation& evaluation, Scorecard& card) {
  if (!evaluation.options.speed) return {};
  StageContext& context = evaluation.context;
  const MeasuredModels& models = evaluation.models;
  std::vector<std::pair<const MeasuredModel*, ModelScore*>> measured = {{&models.before, &card.before},
                                                                        {&models.student, &card.student}};
  if (models.teacher) measured.insert(measured.begin(), {&*models.teacher, &card.teacher});
  for (std::size_t i = 0; i < models.others.size(); ++i) measured.emplace_back(&models.others[i], &card.others[i]);
  llama::SpeedOptions options;
  options.prefill_tokens =
      std::min<std::size_t>(options.prefill_tokens, static_cast<std::size_t>(context.local.config.context) / 2);
  options.decode_tokens =
      std::min<std::size_t>(options.decode_tokens, static_cast<std::size_t>(context.local.config.context) / 4);
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

std::vector<AnswerFacts> shown_answers(const Evaluation& evaluation, const Answers& answers) {
  const tokens::Tokenizer& tokenizer = evaluation.context.local.format.tokenizer();
  const auto count = std::min(answers.before.size(), static_cast<std::size_t>(evaluation.options.shown_answers));
  std::vector<AnswerFacts> shown;
  for (std::size_t i = 0; i < count; ++i) {
    shown.push_back({last_user_text(evaluation.exchanges[i]), answer_text(answers.teacher[i], tokenizer),
                     answer_text(answers.before[i], tokenizer), answer_text(answers.student[i], tokenizer)});
  }
  return shown;
}

}  // namespace retort::pipeline
