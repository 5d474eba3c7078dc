// train: make the student (pipeline/student_start.h), and train it.
//
// The teacher is online, or what is kept of it stands for it (pipeline/teacher_signal.h), or its answers' text is all
// there is of it, at most with the probabilities that an API told (pipeline/told_signal.h).
// Leaves train/layers.json (which layers, and why), widths.json, fit.json (how far its layers were, and are) and
// start.safetensors where it isn't simply layers of the teacher, compute.json (the type and the probe's sentence; a run
// that is taken up again computes as it began), and what train::train() writes. metrics.jsonl is linked at the top of
// the run.
#include <algorithm>
#include <memory>
#include <optional>

#include "base/files.h"
#include "base/text.h"
#include "collect/collect_options.h"
#include "dataset/dataset.h"
#include "dataset/example.h"
#include "evaluate/evaluate_options.h"
#include "model/decoder.h"
#include "pipeline/compute_choice.h"
#include "pipeline/plan_checks.h"
#include "pipeline/rollouts.h"
#include "pipeline/run_files.h"
#include "pipeline/run_options.h"
#include "pipeline/stage.h"
#include "pipeline/student_start.h"
#include "pipeline/teacher_signal.h"
#include "pipeline/train_help.h"
#include "pipeline/train_prediction.h"
#include "train/memory.h"
#include "train/train.h"

namespace retort::pipeline {
namespace {

constexpr const char* kComputeFile = "train/compute.json";

Result<ComputeChoice> compute_for(StageContext& context, const train::TrainOptions& options) {
  if (is_there(context.folder.of(kComputeFile))) {
    RETORT_ASSIGN(const Json json, read_json(context.folder, kComputeFile));
    return compute_choice_from_json(json, kComputeFile);
  }
  RETORT_ASSIGN(ComputeChoice choice, choose_compute(options.compute, context.device, context.local.config,
                                                     context.cache_folder, context.clock));
  RETORT_TRY(write_json(context.folder, kComputeFile, to_json(choice)));
  return choice;
}

Result<TrainPrediction> predict(StageContext& context, const ComputeChoice& compute,
                                const std::vector<dataset::Example>& examples) {
  std::int64_t tokens = 0;
  for (const dataset::Example& example : examples) tokens += static_cast<std::int64_t>(example.ids.size());
  return predict_training(context.recipe, context.local, compute, tokens, context.clock);
}

// Says how far off the plan was, and keeps it in the summary.
Result<void> compare_with_prediction(StageContext& context, const TrainPrediction& prediction,
                                     const train::TrainSummary& summary) {
  Json json = to_json(summary);
  json["predicted_seconds"] = prediction.cost.seconds;
  json["predicted_peak_bytes"] = prediction.peak_bytes;
  json["predicted_device_bytes"] = prediction.device_bytes;
  RETORT_TRY(write_json(context.folder, kTrainSummaryFile, json));
  context.progress.note("Training took " + human_seconds(summary.seconds) + " (" +
                        human_seconds(prediction.cost.seconds) + " were predicted) and " +
                        human_bytes(static_cast<std::uint64_t>(summary.peak_rss_bytes)) + " of memory at its peak (" +
                        human_bytes(static_cast<std::uint64_t>(prediction.peak_bytes)) + " were predicted).");
  if (summary.peak_device_bytes > 0) {
    context.progress.note("Of the GPU's memory it took " +
                          human_bytes(static_cast<std::uint64_t>(summary.peak_device_bytes)) + " (" +
                          human_bytes(static_cast<std::uint64_t>(prediction.device_bytes)) + " were predicted).");
  }
  return {};
}

// The student's own answers, when the recipe wants to learn from them.
Result<std::optional<Rollouts>> rollouts_for(StageContext& context, const train::TrainOptions& options,
                                             const dataset::Dataset& dataset, const ComputeChoice& compute) {
  if (options.on_policy_from >= 1) return std::optional<Rollouts>();
  RETORT_ASSIGN(std::vector<Exchange> exchanges, read_exchanges(context.folder, context.local, dataset.train));
  RolloutOptions rollout_options;
  SamplingOptions& sampling = rollout_options.sampling;
  sampling = {
      .temperature = options.rollout_temperature, .top_p = 1, .top_k = 0, .min_p = 0, .max_tokens = 0, .seed = 0};
  sampling.max_tokens = static_cast<std::int32_t>(options.rollout_tokens);
  sampling.seed = static_cast<std::uint64_t>(options.seed);
  rollout_options.context_tokens = static_cast<std::size_t>(context.local.config.context);
  rollout_options.student_name = context.recipe.get(run_option_set()).name;
  rollout_options.run_as = model::name_of(compute.type);
  RETORT_ASSIGN(Rollouts rollouts, Rollouts::open(context.folder.of(kRolloutsFile), std::move(exchanges),
                                                  context.local.format, rollout_options, context.clock));
  return std::make_optional(std::move(rollouts));
}

// The beginning of the user's text in windows of a row, each predicted from itself alone: to see what is forgotten.
Result<std::vector<dataset::Example>> text_windows(StageContext& context, const train::TrainOptions& options) {
  const auto evaluation = context.recipe.get(evaluate::evaluate_option_set());
  std::vector<dataset::Example> windows;
  if (evaluation.text.empty()) return windows;
  RETORT_ASSIGN(const std::string text, read_file(evaluation.text));
  const tokens::Tokenizer& tokenizer = context.local.format.tokenizer();
  RETORT_ASSIGN(const std::vector<TokenId> ids, tokenizer.encode(text));
  const auto end = std::min(ids.size(), static_cast<std::size_t>(options.held_out_tokens));
  const auto room = static_cast<std::size_t>(options.max_length) - (tokenizer.adds_bos() ? 1 : 0);
  for (std::size_t begin = 0; begin < end; begin += room) {
    dataset::Example window;
    if (tokenizer.adds_bos()) window.ids.push_back(*tokenizer.bos());
    const auto part = std::span(ids).subspan(begin, std::min(room, end - begin));
    window.ids.insert(window.ids.end(), part.begin(), part.end());
    window.supervised.assign(window.ids.size(), 1);
    window.supervised[0] = 0;
    windows.push_back(std::move(window));
  }
  return windows;
}

// Template, end of turn and tokenizer: what was collected must be what this teacher reads and writes.
class TokensAgree {
 public:
  explicit TokensAgree(const tokens::ChatFormat& format) : format_(format) {}

  void see(const Exchange& exchange) {
    const std::vector<TokenId>& ends = format_.end_ids();
    ++exchanges_;
    if (exchange.tokens.tokenizer_fingerprint != format_.tokenizer().fingerprint()) ++other_tokenizer_;
    const auto& asked = exchange.provenance.model;
    if (asked && asked->template_digest != format_.template_digest()) ++other_template_;
    if (exchange.completion.finish_reason != FinishReason::kEnd || exchange.tokens.ids.empty()) return;
    ++ended_;
    const auto& spans = exchange.tokens.spans;
    const bool well = std::any_of(spans.begin(), spans.end(), [&](const TokenSpan& span) {
      return span.kind == SpanKind::kAssistant && span.end > span.begin &&
             std::find(ends.begin(), ends.end(), exchange.tokens.ids[span.end - 1]) != ends.end();
    });
    if (well) ++ended_well_;
  }

  train::Check check() const {
    train::Check check{"tokens", "Do teacher, student and exchanges share tokenizer, template and end of turn?", true,
                       "", ""};
    check.passed = other_tokenizer_ == 0 && other_template_ == 0 && ended_ == ended_well_;
    check.measured = std::to_string(exchanges_) + " exchanges: " + std::to_string(other_tokenizer_) +
                     " of another tokenizer, " + std::to_string(other_template_) + " of another template; " +
                     std::to_string(ended_well_) + " of " + std::to_string(ended_) +
                     " ended answers close with an end token";
    check.advice = "The exchanges were made with another model: collect them again with this teacher.";
    return check;
  }

 private:
  const tokens::ChatFormat& format_;
  std::size_t exchanges_ = 0, other_tokenizer_ = 0, other_template_ = 0, ended_ = 0, ended_well_ = 0;
};

void link_metrics(const RunFolder& folder) {
  // A convenience; where links can't be made the file is still in train/.
  std::error_code error;
  std::filesystem::remove(folder.of("metrics.jsonl"), error);
  std::filesystem::create_symlink(kMetricsFile, folder.of("metrics.jsonl"), error);
}

}  // namespace

Result<StageResult> run_train(StageContext& context) {
  auto options = context.recipe.get(train::train_option_set());
  RETORT_ASSIGN(const dataset::Dataset dataset, dataset::load(context.folder.of(kDatasetFile)));
  RETORT_ASSIGN(const store::ExchangeStore store, store::ExchangeStore::open_read_only(context.folder.of(kStoreFile)));
  RETORT_ASSIGN(const dataset::Supervision supervision, dataset::supervision_from_name(options.supervise));
  const dataset::ReadExchange read = local_reader(store, context.local);
  TokensAgree agreement(context.local.format);
  RETORT_ASSIGN(const std::vector<dataset::Example> examples,
                dataset::materialise(read, dataset.train, supervision,
                                     [&](const Exchange& exchange) { agreement.see(exchange); }));
  // The answers alone, so that the curve speaks of what evaluation measures.
  RETORT_ASSIGN(const std::vector<dataset::Example> held_out,
                dataset::materialise(read, dataset.held_out, dataset::Supervision::kAssistant));

  RETORT_ASSIGN(const std::vector<dataset::Example> own_text, text_windows(context, options));

  RETORT_ASSIGN(const ComputeChoice compute, compute_for(context, options));
  use(compute);
  RETORT_ASSIGN(const TrainPrediction prediction, predict(context, compute, examples));
  RETORT_ASSIGN(model::Decoder local,
                model::Decoder::from_gguf(context.local.file,
                                          {.compute = compute.type, .backend = compute.backend, .layers = {}}));
  const TaughtExchanges taught{read, dataset.train, examples};
  RETORT_ASSIGN(const std::optional<dataset::SignalFile> signal,
                signal_for_training(context, context.teacher.at_hand ? &local : nullptr, taught, options));
  RETORT_ASSIGN(model::Decoder student, start_student(context, local, examples, held_out));
  std::optional<model::Decoder> teacher;
  if (context.teacher.at_hand) teacher = std::move(local);
  link_metrics(context.folder);
  train::release_memory();  // what the choice of layers had
  RETORT_ASSIGN(const std::vector<std::int64_t> layers, read_kept_layers(context.folder));
  const model::Decoder* start = is_there(context.folder.of(kStartFile)) ? &student : nullptr;
  RETORT_TRY(hand_out(context.ranks,
                      {compute, layers, start, examples, held_out, own_text, options.signal,
                       signal ? std::filesystem::absolute(context.folder.of(kSignalFile)) : std::filesystem::path()}));
  use(compute, context.local_ranks);
  train::TrainHelpers helpers;
  helpers.checks = {agreement.check()};
  helpers.make_student_again = [&context] { return student_again(context); };
  helpers.decode = [&context](std::span<const TokenId> ids) {
    return context.local.format.tokenizer().decode(ids, true);
  };
  RETORT_ASSIGN(std::optional<Rollouts> rollouts, rollouts_for(context, options, dataset, compute));
  helpers.end_ids = context.local.format.end_ids();
  helpers.answer_sampling = collect::answer_sampling(context.recipe.get(collect::collect_option_set()));
  helpers.text = own_text;
  helpers.ranks = &context.ranks;
  helpers.computed_in = {compute.type, compute.backend};
  if (rollouts) helpers.rollouts = &*rollouts;
  std::size_t longest = 1;
  for (const dataset::Example& example : examples) longest = std::max(longest, example.ids.size());
  if (context.teacher.at_hand) {
    helpers.open_other_engine = [&context, longest] {
      return open_in_llama(context.local, context.cache_folder, longest);
    };
    helpers.other_engine_name = kOtherEngine;
  }
  RETORT_ASSIGN(
      const train::TrainSummary summary,
      train::train(std::move(teacher), std::move(student), {examples, held_out, signal ? &*signal : nullptr}, options,
                   context.folder.of("train"), context.clock, context.progress, context.stop, helpers));

  RETORT_TRY(compare_with_prediction(context, prediction, summary));

  StageResult result;
  result.content = {kStudentWeightsFile, kLayersFile};
  if (is_there(context.folder.of(kStartFile))) result.content.emplace_back(kStartFile);
  result.records = {kMetricsFile, kTrainSummaryFile, kComputeFile, kPreflightFile};
  for (const char* file : {kWidthsFile, kFitFile}) {
    if (is_there(context.folder.of(file))) result.records.emplace_back(file);
  }
  if (rollouts) result.records.push_back(kRolloutsFile);
  if (options.lora_rank > 0) {
    for (const char* file : {kAdapterFile, kAdapterConfigFile}) result.records.emplace_back(file);
  }
  result.tokens = summary.tokens;
  char text[200];
  const bool kl = context.teacher.at_hand;
  std::snprintf(text, sizeof(text), "%s tokens in %lld steps, held-out %s %.3f -> %.3f nats, %s tokens/s in %s",
                human_count(summary.tokens).c_str(), static_cast<long long>(summary.steps), kl ? "KL" : "cross-entropy",
                kl ? summary.held_out_kl_before : summary.held_out_cross_entropy_before,
                kl ? summary.held_out_kl : summary.held_out_cross_entropy,
                human_count(static_cast<std::int64_t>(summary.tokens_per_s)).c_str(),
                std::string(model::name_of(compute.type)).c_str());
  result.summary = text;
  return result;
}

}  // namespace retort::pipeline
