#include "pipeline/teacher_signal.h"

#include <utility>

#include "base/files.h"
#include "dataset/dataset.h"
#include "pipeline/compute_choice.h"
#include "pipeline/run_files.h"
#include "pipeline/run_options.h"
#include "pipeline/told_signal.h"
#include "train/cached_signal.h"
#include "train/ranks.h"

namespace retort::pipeline {
namespace {

using dataset::SignalKind;

dataset::SignalHeader wanted_header(const LocalModel& local, const std::string& compute,
                                    std::span<const dataset::Example> examples, const train::TrainOptions& options,
                                    SignalKind kind) {
  dataset::SignalHeader header = train::signal_header(examples, options, kind, local.config.vocabulary);
  header.tokenizer = local.format.tokenizer().fingerprint();
  header.teacher = local.digest;
  header.compute = compute;
  return header;
}

bool only_forward_kl_and_ce(const train::TrainOptions& options) {
  for (std::size_t i = 0; i < train::kTerms; ++i) {
    const auto term = static_cast<train::Term>(i);
    if (term != train::Term::kForwardKl && term != train::Term::kCe && options.objective.of(term) > 0) return false;
  }
  return true;
}

Result<void> write(StageContext& context, const model::Decoder& teacher, std::span<const dataset::Example> examples,
                   const train::TrainOptions& options, const dataset::SignalHeader& header) {
  const std::filesystem::path path = context.folder.of(kSignalFile);
  RETORT_TRY(make_folder(path.parent_path()));
  return train::write_signal(teacher, examples, options, header, path, context.progress, context.stop);
}

// auto: what the objective needs, and what is there.
Result<void> resolve(StageContext& context, const model::Decoder& teacher, std::span<const dataset::Example> examples,
                     train::TrainOptions& options) {
  if (options.signal != "auto") return {};
  std::string reason;
  const std::filesystem::path path = context.folder.of(kSignalFile);
  options.signal = "online";
  if (only_forward_kl_and_ce(options) && options.objective.of(train::Term::kForwardKl) == 0) {
    options.signal = "text";
    reason = "the objective is the cross-entropy of the teacher's text";
  } else if (!is_there(path)) {
    reason = "the teacher is at hand, and nothing is kept of it";
  } else if (!only_forward_kl_and_ce(options) || options.hidden_state_weight > 0) {
    reason = "what is trained needs more of the teacher than is kept";
  } else {
    RETORT_ASSIGN(const dataset::SignalFile file, dataset::SignalFile::open(path));
    train::TrainOptions adapted = options;
    adapted.signal_draws = adapted.signal_top_k = file.header().slots;
    const auto fits =
        dataset::check_fits(file.header(),
                            wanted_header(context.local, std::string(model::name_of(teacher.compute_type())), examples,
                                          adapted, file.header().kind),
                            path);
    reason = fits ? "a kept signal fits" : "the kept signal doesn't fit: " + fits.error().message;
    if (fits) {
      adapted.signal = name_of(file.header().kind);
      options = adapted;
    }
  }
  context.progress.note("train.signal: " + options.signal + ", because " + reason + ".");
  return {};
}

}  // namespace

Result<std::optional<dataset::SignalFile>> signal_for_training(StageContext& context, const model::Decoder* teacher,
                                                               const TaughtExchanges& taught,
                                                               train::TrainOptions& options) {
  if (learns_from_logprobs(context.recipe)) {
    options.signal = name_of(SignalKind::kLogprobs);
    context.progress.note("The student learns from the probabilities that " + context.teacher.name +
                          " told with its answers (train.signal: logprobs).");
  } else if (teacher == nullptr) {
    options.signal = "text";
    context.progress.note("The student learns from the text of " + context.teacher.name +
                          "'s answers alone (ce): its file isn't at hand, so nothing is known of its probabilities.");
  } else {
    RETORT_TRY(resolve(context, *teacher, taught.examples, options));
  }
  if (!train::reads_signal(options)) return std::optional<dataset::SignalFile>();
  const std::filesystem::path path = context.folder.of(kSignalFile);
  dataset::SignalHeader wanted;
  if (options.signal == name_of(SignalKind::kLogprobs)) {
    wanted = told_header(context, taught.examples, options);
    if (!is_there(path)) {
      RETORT_TRY(write_told_signal(context, taught.read, taught.ids, taught.examples, options, path));
    }
  } else {
    const SignalKind kind = options.signal == name_of(SignalKind::kTopK) ? SignalKind::kTopK : SignalKind::kSampled;
    wanted = wanted_header(context.local, std::string(model::name_of(teacher->compute_type())), taught.examples,
                           options, kind);
    if (!is_there(path)) RETORT_TRY(write(context, *teacher, taught.examples, options, wanted));
  }
  RETORT_ASSIGN(dataset::SignalFile file, dataset::SignalFile::open(path));
  RETORT_TRY(dataset::check_fits(file.header(), wanted, path));
  return std::optional<dataset::SignalFile>(std::move(file));
}

Result<CachedSignalOutcome> cache_signal(RunRequest request, Clock& clock, Progress& progress, std::stop_token stop) {
  request.until = "dataset";
  request.ranks = {};  // one process writes the file
  const auto run_options = request.recipe.get(run_option_set());
  const bool told = learns_from_logprobs(request.recipe);
  if (gives_text_alone(run_options.teacher) && !told) {
    return caller_error(
        "There is no signal to keep: the teacher is behind an API and gives its text alone. Let it tell "
        "log-probabilities (collect.logprobs, train.signal: logprobs), or name its file too (teacher.file) if it is at "
        "hand.");
  }
  RETORT_TRY(run(request, clock, progress, stop));
  RETORT_ASSIGN(const Models models, open_models(request.recipe, request.cache_folder, clock));
  const LocalModel& local = models.local;
  RETORT_ASSIGN(RunFolder folder, RunFolder::open(request.runs_folder, run_options.name, clock));
  RETORT_ASSIGN(const std::unique_ptr<train::Ranks> alone, train::join_ranks({}));
  StageContext context{request.recipe,       folder, models,   local, models.teacher,
                       request.cache_folder, clock,  progress, stop,  *alone};
  auto options = request.recipe.get(train::train_option_set());
  if (told) options.signal = name_of(SignalKind::kLogprobs);
  if (!train::reads_signal(options)) {
    progress.note("train.signal is " + options.signal +
                  ": a sampled signal is written, and used when the recipe says sampled or auto.");
  }
  const SignalKind kind = options.signal == "top_k" ? SignalKind::kTopK : SignalKind::kSampled;

  RETORT_ASSIGN(const dataset::Dataset dataset, dataset::load(folder.of(kDatasetFile)));
  RETORT_ASSIGN(const store::ExchangeStore store, store::ExchangeStore::open_read_only(folder.of(kStoreFile)));
  RETORT_ASSIGN(const dataset::Supervision supervision, dataset::supervision_from_name(options.supervise));
  const dataset::ReadExchange read = local_reader(store, local);
  RETORT_ASSIGN(const std::vector<dataset::Example> examples, dataset::materialise(read, dataset.train, supervision));

  CachedSignalOutcome outcome;
  outcome.path = folder.of(kSignalFile);
  const auto is_kept = [&] {
    const auto present = dataset::SignalFile::open(outcome.path);
    outcome.kept = present && dataset::check_fits(present->header(), outcome.header, outcome.path);
    if (outcome.kept) outcome.header = present->header();
    return outcome.kept;
  };
  if (told) {
    outcome.header = told_header(context, examples, options);
    const double started_s = clock.monotonic_s();
    if (!is_kept()) RETORT_TRY(write_told_signal(context, read, dataset.train, examples, options, outcome.path));
    outcome.seconds = clock.monotonic_s() - started_s;
    return outcome;
  }
  RETORT_ASSIGN(const ComputeChoice compute,
                choose_compute(options.compute, options.device, local.config, request.cache_folder, clock));
  use(compute);
  outcome.header = wanted_header(local, std::string(model::name_of(compute.type)), examples, options, kind);
  if (is_kept()) return outcome;
  RETORT_ASSIGN(
      const model::Decoder decoder,
      model::Decoder::from_gguf(local.file, {.compute = compute.type, .backend = compute.backend, .layers = {}}));
  const double started_s = clock.monotonic_s();
  RETORT_TRY(write(context, decoder, examples, options, outcome.header));
  outcome.seconds = clock.monotonic_s() - started_s;
  return outcome;
}

}  // namespace retort::pipeline
