#include "retort/recipe_flags.h"

#include "pipeline/run_options.h"
#include "retort/rank_environment.h"
#include "retort/start_ranks.h"
#include "train/memory.h"

namespace retort::app {

void add_recipe_flags(CLI::App& app, RecipeFlags& flags) {
  app.add_option("recipe", flags.recipe, "The recipe, a YAML file")->type_name("RECIPE")->required();
  app.add_option("--set", flags.overrides, "Override a key of the recipe, as in --set train.epochs=3; repeatable")
      ->type_name("KEY=VALUE")
      ->take_all()
      ->allow_extra_args(false);
  app.add_option("--runs-dir", flags.runs_folder, "Where the folders of runs lie")
      ->type_name("FOLDER")
      ->capture_default_str();
}

void add_until_flag(CLI::App& app, RecipeFlags& flags) {
  app.add_option("--until", flags.until, "Stop after this stage")->type_name("STAGE");
}

void add_ranks_flag(CLI::App& app, RecipeFlags& flags) {
  app.add_option("--ranks", flags.ranks,
                 "Train in so many processes on this machine. Without it the variables of torchrun, Slurm or mpirun "
                 "count, if there are any")
      ->type_name("N")
      ->check(CLI::Range(1, 1024));
}

Result<pipeline::RunRequest> run_request(const RecipeFlags& flags, const Context& context, bool collect_only) {
  const auto schema = collect_only ? pipeline::collection_schema() : pipeline::recipe_schema();
  RETORT_ASSIGN(recipe::Recipe recipe, recipe::Recipe::load(flags.recipe, schema, flags.overrides));
  std::string command = (collect_only ? "retort collect " : "retort run ") + flags.recipe;
  for (const std::string& override_text : flags.overrides) command += " --set '" + override_text + "'";
  if (flags.runs_folder != "runs") command += " --runs-dir " + flags.runs_folder;
  pipeline::RunRequest request{std::move(recipe), flags.runs_folder, context.cache_folder, flags.until,
                               std::move(command)};
  request.environment = context.environment;
  return request;
}

namespace {

std::vector<std::string> arguments_of(const std::string& verb, const RecipeFlags& flags, bool json) {
  std::vector<std::string> all = {verb, flags.recipe, "--runs-dir", flags.runs_folder};
  for (const std::string& override_text : flags.overrides) all.insert(all.end(), {"--set", override_text});
  if (verb == "run" && !flags.until.empty()) all.insert(all.end(), {"--until", flags.until});
  if (json) all.emplace_back("--json");
  return all;
}

// What a rank says of the ranks' common troubles would be said by each of them.
Failure of_rank(const Error& error, const train::RankPlace& place) {
  if (place.world == 1) return Failure(error);
  return with_context(error, "rank " + std::to_string(place.rank));
}

}  // namespace

Result<std::optional<pipeline::RunOutcome>> carry_out(const std::string& verb, const RecipeFlags& flags,
                                                      Context& context) {
  train::forget_old_shapes();
  RETORT_ASSIGN(const train::RankPlace place, rank_place(context.environment));
  RETORT_ASSIGN(pipeline::RunRequest request, run_request(flags, context, verb == "collect"));
  if (flags.ranks > 1) {
    if (place.world > 1) {
      return caller_error("--ranks starts ranks, but this process is already one of " + std::to_string(place.world) +
                          " by its environment. Leave --ranks out, or unset RANK and WORLD_SIZE.");
    }
    RETORT_TRY(start_ranks(flags.ranks, arguments_of(verb, flags, context.json), context));
    return std::nullopt;
  }
  if (place.world == 1) {
    RETORT_ASSIGN(pipeline::RunOutcome outcome, pipeline::run(request, context.clock, context.progress, context.stop));
    return outcome;
  }
  request.ranks = place;
  SilentProgress silent;
  Progress& progress = place.rank == 0 ? context.progress : silent;
  Result<pipeline::RunOutcome> outcome = pipeline::run(request, context.clock, progress, context.stop);
  if (!outcome) return of_rank(outcome.error(), place);
  if (place.rank != 0) return std::nullopt;
  return std::move(*outcome);
}

}  // namespace retort::app
