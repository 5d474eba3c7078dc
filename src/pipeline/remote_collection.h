// Collecting from a teacher behind an API, as a stage of a run or by itself.
//
// By itself a recipe needs `name`, `teacher` and `collect` alone: what is collected today can be learnt from tomorrow,
// by any student. The answers lie where the run's first stage would put them, and a later `retort run` of the same name
// takes them up.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/progress.h"
#include "collect/collect.h"
#include "collect/prompt_spool.h"
#include "collect/remote_collect.h"
#include "collect/turn_writer.h"
#include "pipeline/local_model.h"
#include "pipeline/run_folder.h"
#include "recipe/recipe.h"

namespace retort::pipeline {

using Environment = std::function<std::optional<std::string>(const std::string& name)>;

// What was collected over an API, and from which prompts.
struct RemoteCollection {
  collect::RemoteSummary summary;
  collect::PromptIntake intake;
};

// What is asked of a service: prompts that were read, or turns that it writes itself.
struct ServicePrompts {
  const collect::PromptSpool* read = nullptr;
  std::shared_ptr<const collect::TurnWriter> turns = nullptr;  // where nothing was read
};

// Who a recipe asks, with the prices and keys that are found now.
struct Service {
  collect::CollectOptions options;
  collect::RemoteSource source;
};
// `terms`: the decision by which it is asked. Error (kCaller): a price or a key that is missing.
Result<Service> service_of(const recipe::Recipe& recipe, const std::string& terms, const Environment& environment);

// How the teacher writes users' turns: a chat API is asked for them; a completions API goes on with its template, as
// the recipe states it, else by `local`, which is the teacher's file or the model that the student begins from. Error
// (kCaller): a template that can't.
Result<std::shared_ptr<const collect::TurnWriter>> self_generated_turns(const recipe::Recipe& recipe,
                                                                        const LocalModel& local);

// Asks `prompts` for what isn't in the run's store, after what an earlier recipe handed over was fetched
// (pipeline/earlier_batches.h). Nothing but the store and collect/batches.yaml is written. Errors as of
// collect::collect_remote().
Result<RemoteCollection> ask_service(const recipe::Recipe& recipe, const std::string& terms,
                                     const ServicePrompts& prompts, const RunFolder& folder,
                                     store::ExchangeStore& store, const std::filesystem::path& cache_folder,
                                     const Environment& environment, const Clock& clock, Progress& progress,
                                     std::stop_token stop);

// `recipe` by collection_schema() (run_options.h), its teacher behind an API. Opens and locks runs_folder/NAME,
// collects, and leaves collect/collection.json and collect/summary.json, and while it isn't complete the prompts as
// they were read (collect/prompts.spool). Errors also: terms that don't allow it, with what to do.
Result<RemoteCollection> collect_alone(const recipe::Recipe& recipe, const std::filesystem::path& runs_folder,
                                       const std::filesystem::path& cache_folder, const Environment& environment,
                                       const Clock& clock, Progress& progress, std::stop_token stop);

// Settles what earlier calls reserved and never heard of; how many lines. `as_worst_case`: else as nothing.
Result<std::int64_t> reconcile(const recipe::Recipe& recipe, const std::filesystem::path& runs_folder,
                               bool as_worst_case, const Clock& clock);

// In the words of a collection of any kind.
collect::CollectSummary collect_summary(RemoteCollection collection);

}  // namespace retort::pipeline
