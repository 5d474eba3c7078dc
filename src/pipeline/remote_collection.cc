#include "pipeline/remote_collection.h"

#include <algorithm>
#include <utility>

#include "base/files.h"
#include "base/json.h"
#include "collect/collect_options.h"
#include "collect/raw_turns.h"
#include "collect/remote_estimate.h"
#include "collect/self_generated.h"
#include "collect/spending.h"
#include "net/curl_transport.h"
#include "pipeline/collection_files.h"
#include "pipeline/earlier_batches.h"
#include "pipeline/run_files.h"
#include "pipeline/run_options.h"
#include "pipeline/student_base.h"
#include "pipeline/teacher_terms.h"
#include "store/ledger.h"

namespace retort::pipeline {

Result<Service> service_of(const recipe::Recipe& recipe, const std::string& terms, const Environment& environment) {
  Service service{recipe.get(collect::collect_option_set()), {}};
  service.source.teacher = recipe.get(run_option_set()).teacher;
  RETORT_ASSIGN(service.options.prices, collect::prices_of(service.options, service.source.teacher.model));
  service.source.terms = terms;
  RETORT_ASSIGN(service.source.endpoints, collect::open_endpoints(service.source.teacher, environment));
  return service;
}

Result<RemoteCollection> ask_service(const recipe::Recipe& recipe, const std::string& terms,
                                     const ServicePrompts& prompts, const RunFolder& folder,
                                     store::ExchangeStore& store, const std::filesystem::path& cache_folder,
                                     const Environment& environment, const Clock& clock, Progress& progress,
                                     std::stop_token stop) {
  RETORT_ASSIGN(const Service service, service_of(recipe, terms, environment));
  const auto& [options, source] = service;
  const collect::RemoteEstimate estimate = prompts.turns ? collect::estimate_self_generated(*prompts.turns, options)
                                                         : collect::estimate_remote(*prompts.read, options);
  if (estimate.requests > 0) {
    progress.note("Asking " + source.teacher.model + " for everything would take " + estimate.sentence() + ".");
  }
  net::CurlTransport transport(static_cast<std::size_t>(options.concurrency));
  RETORT_TRY(
      fetch_earlier_batches(recipe, terms, folder, store, transport, cache_folder, environment, clock, progress, stop));
  const std::filesystem::path capabilities = cache_folder / "capabilities";
  if (prompts.turns) {
    RETORT_ASSIGN(collect::RemoteSummary summary,
                  collect::collect_self_generated(source, *prompts.turns, options, store, transport, capabilities,
                                                  clock, progress, std::move(stop)));
    return RemoteCollection{std::move(summary), {}};
  }
  const collect::RemotePrompts asked{*prompts.read, options.prompts_file(), prompts.read->rows_digest()};
  RETORT_ASSIGN(collect::RemoteSummary summary,
                collect::collect_remote(source, asked, options, store, transport, capabilities, clock, progress,
                                        std::move(stop)));
  return RemoteCollection{std::move(summary), prompts.read->intake()};
}

namespace {

using Writer = std::shared_ptr<const collect::TurnWriter>;

// What needs no model: a chat API, or a template that the recipe states. Null: the template is a model's.
Result<Writer> turns_as_stated(const recipe::Recipe& recipe) {
  const collect::TeacherOptions teacher = recipe.get(run_option_set()).teacher;
  if (teacher.takes_messages()) return Writer(collect::asked_turns());
  if (!teacher.turn_texts.stated()) return Writer();
  RETORT_ASSIGN(collect::RawTurns turns,
                collect::raw_turns_of(teacher.turn_texts, recipe.get(collect::collect_option_set()).system));
  return Writer(collect::template_turns(std::move(turns)));
}

// Of a recipe that may have no more than a teacher.
Result<Writer> turns_without_a_run(const recipe::Recipe& recipe, const std::filesystem::path& cache_folder) {
  RETORT_ASSIGN(Writer stated, turns_as_stated(recipe));
  if (stated) return stated;
  const collect::TeacherOptions teacher = recipe.get(run_option_set()).teacher;
  RETORT_ASSIGN(const LocalModel local, teacher.file.empty()
                                            ? open_student_base(recipe.get(student_option_set()), cache_folder)
                                            : open_local_model(teacher.file, cache_folder));
  return self_generated_turns(recipe, local);
}

}  // namespace

Result<std::shared_ptr<const collect::TurnWriter>> self_generated_turns(const recipe::Recipe& recipe,
                                                                        const LocalModel& local) {
  RETORT_ASSIGN(Writer stated, turns_as_stated(recipe));
  if (stated) return stated;
  RETORT_ASSIGN(collect::RawTurns turns,
                collect::raw_turns_of(local.format, recipe.get(collect::collect_option_set()).system));
  return Writer(collect::template_turns(std::move(turns)));
}

collect::CollectSummary collect_summary(RemoteCollection collection) {
  const collect::RemoteSummary& remote = collection.summary;
  collect::CollectSummary summary;
  summary.ids = std::move(collection.summary.ids);
  summary.asked = remote.asked;
  summary.from_file = remote.from_file;
  summary.reused = std::max<std::int64_t>(0, remote.committed - remote.asked - remote.from_file);
  summary.slots_given_up = remote.given_up;
  summary.truncated_answers = remote.truncated;
  summary.answer_tokens = remote.totals.output_tokens;
  if (const auto& dropped = remote.dropped_turns) {
    summary.empty_user_turns = dropped->empty;
    summary.long_user_turns = dropped->cut;
    summary.broken_user_turns = dropped->broken;
    summary.refused_user_turns = dropped->refused;
  }
  summary.intake = std::move(collection.intake);
  return summary;
}

Result<RemoteCollection> collect_alone(const recipe::Recipe& recipe, const std::filesystem::path& runs_folder,
                                       const std::filesystem::path& cache_folder, const Environment& environment,
                                       const Clock& clock, Progress& progress, std::stop_token stop) {
  RETORT_ASSIGN(const terms::Decision decision, terms_of_answers(recipe, clock));
  const RunOptions run = recipe.get(run_option_set());
  const auto options = recipe.get(collect::collect_option_set());
  RETORT_ASSIGN(const RunFolder folder, RunFolder::open(runs_folder, run.name, clock));
  RETORT_TRY(folder.save());
  RETORT_TRY(make_folder(folder.of("collect")));
  RETORT_TRY(write_file(folder.of("recipe.yaml"), recipe.effective_yaml(true)));
  RETORT_ASSIGN(store::ExchangeStore store, store::ExchangeStore::open(folder.of(kStoreFile)));
  // A missing key is told before a long file is read.
  RETORT_TRY(collect::open_endpoints(run.teacher, environment));
  const std::filesystem::path spool = folder.of("collect/prompts.spool");
  std::optional<collect::PromptSpool> read;
  ServicePrompts prompts;
  if (options.self_generated()) {
    RETORT_ASSIGN(prompts.turns, turns_without_a_run(recipe, cache_folder));
  } else {
    RETORT_ASSIGN(read, collect::PromptSpool::keep(options, spool));
    prompts.read = &*read;
  }
  RETORT_ASSIGN(RemoteCollection collection, ask_service(recipe, decision.record(), prompts, folder, store,
                                                         cache_folder, environment, clock, progress, std::move(stop)));
  RETORT_TRY(store.checkpoint());
  if (collection.summary.complete) {
    std::error_code ignored;  // no more than room on the disk
    std::filesystem::remove(spool, ignored);
  }
  RETORT_TRY(write_collection(folder, collect_summary(collection), options, collect::to_json(collection.summary)));
  return collection;
}

Result<std::int64_t> reconcile(const recipe::Recipe& recipe, const std::filesystem::path& runs_folder,
                               bool as_worst_case, const Clock& clock) {
  const RunOptions run = recipe.get(run_option_set());
  RETORT_ASSIGN(const RunFolder folder, RunFolder::open(runs_folder, run.name, clock));
  if (!is_there(folder.of(kStoreFile))) return std::int64_t{0};
  RETORT_ASSIGN(store::ExchangeStore store, store::ExchangeStore::open(folder.of(kStoreFile)));
  RETORT_ASSIGN(store::Ledger ledger, store::Ledger::open(store));
  return ledger.reconcile(as_worst_case, clock.unix_ms());
}

}  // namespace retort::pipeline
